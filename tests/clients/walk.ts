// Signs up, subscribes, plays and cancels with a client typed by the API description: node walk.js URL
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

const api = createClient<paths>({ baseUrl: process.argv[2] });

function must<T>(result: { data?: T; error?: unknown; response: Response }): T {
  if (result.data === undefined) throw new Error(`${result.response.status}: ${JSON.stringify(result.error)}`);
  return result.data;
}

const email = `walk-${Date.now()}@example.com`;
const account = { email, password: "seven red herons", country: "DE" };
const signedIn = must(await api.POST("/v1/accounts", { body: account })) as components["schemas"]["SignedIn"];
const headers = { Authorization: `Bearer ${signedIn.token}` };

const refused = await api.POST("/v1/accounts", { body: account });
if (refused.response.status !== 409) throw new Error("a second account has the same email");
if (refused.error && "code" in refused.error && refused.error.code !== "email_taken") throw new Error("another code");

const plans = must(await api.GET("/v1/plans", { params: { query: { country: "DE", currency: "EUR" } } }));
const price = plans.items.flatMap((plan) => plan.prices).find((p) => p.currency === "EUR" && p.interval === "month");
if (!price) throw new Error("no monthly price in EUR");
must(await api.POST("/v1/payment-methods", { headers, body: { token: "pm_card_visa" } }));
const subscription = must(
  await api.POST("/v1/subscriptions", {
    headers,
    params: { header: { "Idempotency-Key": `order of ${email}` } },
    body: { price_id: price.id },
  }),
);
if (subscription.status !== "active" && subscription.status !== "trialing") throw new Error(subscription.status);

const titles = must(await api.GET("/v1/catalog/titles", { headers, params: { query: { kind: "movie", limit: 5 } } }));
let stream: components["schemas"]["PlaybackOut"] | undefined;
for (const title of titles.items)
  stream ??= (await api.POST("/v1/playback", { headers, body: { item_id: title.id } })).data;
if (!stream) throw new Error("nothing plays");
must(
  await api.POST("/v1/playback/{stream_id}/heartbeat", {
    headers,
    params: { path: { stream_id: stream.stream_id } },
    body: { position_s: 30, state: "playing", at: new Date().toISOString() },
  }),
);
await api.DELETE("/v1/playback/{stream_id}", { headers, params: { path: { stream_id: stream.stream_id } } });

const canceled = must(
  await api.POST("/v1/subscriptions/{subscription_id}/cancellation", {
    headers,
    params: { header: { "Idempotency-Key": `end of ${email}` }, path: { subscription_id: subscription.id } },
    body: { when: "period_end" },
  }),
);
if (!canceled.cancel_at) throw new Error("the subscription does not end");
console.log(`TypeScript: signed up, subscribed to ${price.id}, played ${stream.stream_id}, ends on ${canceled.cancel_at}`);
