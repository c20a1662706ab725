// Checks clients/typescript against a running service: node check_client.js URL KEY PRICE PROXY
//
// The proxy's faults are planned through its own path, and what it has seen is read there.
import { ApiError, Client, NoResponseError, verifyWebhook, WebhookError, type components } from "streamsvc-client";

declare const process: { argv: string[] };
const [, , baseUrl, key, price, proxyUrl] = process.argv as string[];
const PROBLEM = '{"code": "too_many_attempts", "detail": "Too many attempts.", "status": 429, "challenge": false}';

interface Seen {
  method: string;
  path: string;
  key: string | null;
  at_s: number;
}

function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(message);
}

async function failure(call: Promise<unknown>): Promise<unknown> {
  return call.then(
    () => assert(false, "nothing was refused"),
    (error) => error,
  );
}

const plan = (...faults: unknown[]) => fetch(`${proxyUrl}/plan`, { method: "PUT", body: JSON.stringify(faults) });
async function seen(): Promise<Seen[]> {
  return (await (await fetch(`${proxyUrl}/seen`)).json()) as Seen[];
}

let number = Date.now();
async function signUp(url = proxyUrl!) {
  const client = new Client({ baseUrl: url });
  const email = `viewer${number++}@example.com`;
  await client.createAccount({ body: { email, password: "seven red herons", country: "DE" } });
  return { client, email };
}

const checks: Record<string, () => Promise<void>> = {
  async "a viewer signs up, subscribes, plays and cancels"() {
    const { client } = await signUp(baseUrl);
    const plans = await client.listPlans({ query: { country: "DE", currency: "EUR" } });
    const monthly = plans.items.flatMap((each) => each.prices).find((each) => each.interval === "month");
    assert(monthly?.id === price, "the price");
    await client.createPaymentMethod({ body: { token: "pm_card_visa" } });
    const subscription = await client.createSubscription({ body: { price_id: monthly.id } });
    assert(subscription.status === "active", subscription.status);
    const titles = await client.listTitles({ query: { kind: "movie", "year.gte": 1995, limit: 1 } });
    const stream = await client.startPlayback({ body: { item_id: titles.items[0]!.id } });
    const path = { stream_id: stream.stream_id };
    const beat = await client.sendHeartbeat({ path, body: { position_s: 30, state: "playing" } });
    assert(beat.current === 1, "streams");
    assert((await client.stopStream({ path })) === undefined, "204");
    const invoices = await client.listInvoices();
    const pdf = await client.getInvoicePdf({ path: { invoice_id: invoices.items[0]!.id } });
    assert(new TextDecoder().decode(pdf.slice(0, 4)) === "%PDF", "bytes");
    const canceled = await client.cancelSubscription({
      path: { subscription_id: subscription.id },
      body: { when: "period_end" },
    });
    assert(canceled.cancel_at, "the end");
  },

  async "all pages of a list are iterated"() {
    const { client } = await signUp();
    await plan();
    const found = new Set<string>();
    for await (const title of client.iterate("listTitles", { query: { limit: 4 } })) found.add(title.title);
    assert(found.size === 30 && (await seen()).length === 8, `${found.size} titles`);
  },

  async "a busy service is asked again after the time that it names"() {
    const { client } = await signUp();
    await plan([503, "1"], [429, "1", PROBLEM]);
    await client.getAccount();
    const [first, second, third] = await seen();
    assert(second!.at_s - first!.at_s >= 1 && third!.at_s - second!.at_s >= 1, "Retry-After");
    await plan([503, new Date(Date.now() + 2500).toUTCString()]);
    await client.getAccount();
    const [early, late] = await seen();
    assert(late!.at_s - early!.at_s >= 0.9, "a date");
  },

  async "a long wait is an error at once, and so is what stays busy"() {
    const { client } = await signUp();
    await plan([429, "3600", PROBLEM]);
    const error = await failure(client.getAccount());
    assert(ApiError.is(error, "too_many_attempts") && error.retryAfterS === 3600, String(error));
    assert(error.problem.challenge === false && (await seen()).length === 1, "one request");
    const hasty = new Client({ baseUrl: proxyUrl!, maxRetries: 1, token: client.token });
    await plan([503], [503]);
    const busy = await failure(hasty.getAccount());
    assert(busy instanceof ApiError && busy.status === 503 && busy.code === undefined, String(busy));
    await plan([200, null, "<html>Sign in to the network of this hotel</html>"]);
    const hotel = await failure(client.getAccount());
    assert(hotel instanceof ApiError && hotel.detail.includes("not JSON"), String(hotel));
    const absent = new Client({ baseUrl: "http://127.0.0.1:9", maxRetries: 0 });
    assert((await failure(absent.listPlans())) instanceof NoResponseError, "no service");
  },

  async "a POST whose response is lost acts once"() {
    const { client } = await signUp();
    await client.createPaymentMethod({ body: { token: "pm_card_visa" } });
    await plan("lose response", [503], "lose request");
    const subscription = await client.createSubscription({ body: { price_id: price! } });
    const requests = await seen();
    assert(requests.length === 4 && new Set(requests.map((each) => each.key)).size === 1, "one key");
    assert(requests[0]!.key, "a key");
    const { items } = await client.listSubscriptions();
    assert(items.length === 1 && items[0]!.id === subscription.id, "one subscription");
    assert((await client.listInvoices()).items.length === 1, "one invoice");
  },

  async "a given key repeats a call, and a POST without one is not repeated"() {
    const { client } = await signUp();
    const eve = { body: { name: "Eve" }, idempotencyKey: "eve" };
    const [first, second] = [await client.createProfile(eve), await client.createProfile(eve)];
    assert(first.id === second.id, "one profile");
    const reused = await failure(client.createProfile({ ...eve, body: { name: "Eva" } }));
    assert(ApiError.is(reused, "idempotency_key_reused"), String(reused));
    for (const fault of [[503, "1"], "lose response"]) {
      await plan(fault);
      await failure(client.previewInvoice({ body: { price_id: price! } }));
      assert((await seen()).length === 1, "one request");
    }
  },

  async "errors have codes and what they say"() {
    const { client, email } = await signUp();
    const body = { email, password: "seven red herons", country: "DE" };
    const taken = await failure(client.createAccount({ body }));
    assert(ApiError.is(taken, "email_taken") && taken.status === 409 && taken.requestId?.startsWith("req_"), "taken");
    const invalid = await failure(client.createAccount({ body: { ...body, country: "Germany" } }));
    assert(ApiError.is(invalid, "invalid") && invalid.errors.country, "invalid");
    const absent = await failure(client.getTitle({ path: { title_id: "../../admin/accounts" } }));
    assert(ApiError.is(absent, "not_found"), String(absent));
    for (const wrong of ["", ".", ".."])
      assert((await failure(client.deleteSession({ path: { session_id: wrong } }))) instanceof RangeError, wrong);
    await client.createPaymentMethod({ body: { token: "pm_card_visa" } });
    await client.createSubscription({ body: { price_id: price! } });
    const items = (await client.listTitles({ query: { limit: 3 } })).items;
    for (const title of items.slice(0, 2)) {
      const device = new Client({ baseUrl: baseUrl! });
      await device.createSession({ body: { email, password: "seven red herons" } });
      await device.startPlayback({ body: { item_id: title.id } });
    }
    const full = await failure(client.startPlayback({ body: { item_id: items[2]!.id } }));
    assert(ApiError.is(full, "stream_limit") && full.problem.streams?.length === 2, String(full));
  },

  async "an expired token is renewed once for all calls"() {
    const { client, email } = await signUp();
    const sessions: string[] = [];
    for (let n = 0; n < 2; n++) {
      const other = new Client({ baseUrl: baseUrl! });
      await other.createSession({ body: { email, password: "seven red herons" } });
      sessions.push(other.token!);
    }
    const [expired, fresh] = sessions as [string, string];
    const stored: string[] = [];
    let renewals = 0;
    const renewing = new Client({
      baseUrl: proxyUrl!,
      token: expired,
      onToken: (token) => stored.push(token),
      renewToken: async () => {
        renewals++;
        await new Promise((resolve) => setTimeout(resolve, 50));
        return fresh;
      },
    });
    await renewing.deleteCurrentSession();
    await Promise.all([1, 2, 3, 4].map(() => renewing.getAccount()));
    assert(renewals === 1 && stored.join() === fresh, "one renewal");
    const refused = await failure(new Client({ baseUrl: baseUrl!, token: expired }).getAccount());
    assert(ApiError.is(refused, "not_signed_in"), String(refused));
    const rotated = await client.reauthenticate({ body: { password: "seven red herons", rotate: true } });
    assert(rotated && client.token === rotated.token && (await client.getAccount()).email === email, "rotated");
  },

  async "a session in a cookie sends its CSRF token"() {
    const client = new Client({ baseUrl: proxyUrl! });
    const body = { email: `viewer${number++}@example.com`, password: "seven red herons", country: "DE", cookie: true };
    const signedIn = await client.createAccount({ body });
    assert(client.token === undefined && client.csrfToken === (signedIn as any).csrf_token, "no token");
  },

  async "bytes are sent"() {
    const operator = new Client({ baseUrl: baseUrl!, token: key });
    const body = '{"external_id": "by import", "kind": "movie", "title": "No", "nonsense": 1}\n';
    const contentType = "application/x-ndjson";
    const started = await operator.createImport({ query: { dry_run: true }, body, contentType });
    const path = { import_id: started.id };
    assert((await operator.getImport({ path })).id === started.id, "the import");
    const report = await operator.getRevenueReport({ query: { format: "csv" } });
    assert(report instanceof ArrayBuffer, "a report");
  },

  async "webhooks are verified"() {
    const headers = {
      "Webhook-Id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
      "webhook-timestamp": "1614265330",
      "webhook-signature": "v1,AAAA v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    };
    const body = '{"test": 2432232314}';
    const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const event: unknown = await verifyWebhook(["whsec_AAAA", secret], new Headers(headers), body, 1e10);
    assert(JSON.stringify(event) === '{"test":2432232314}', "the event");
    for (const call of [
      () => verifyWebhook(secret, headers, body),
      () => verifyWebhook(secret, headers, `${body} `, 1e10),
      () => verifyWebhook("whsec_AAAA", headers, body, 1e10),
      () => verifyWebhook(secret, { ...headers, "webhook-signature": "v1,%" }, body, 1e10),
      () => verifyWebhook(secret, {}, body),
    ])
      assert((await failure(call())) instanceof WebhookError, "refused");
  },
};

/** Compiled only: what the types refuse. */
export async function refusedByTheCompiler(client: Client): Promise<void> {
  // @ts-expect-error the body has another field
  await client.createSubscription({ body: { price: "pri_1" } });
  // @ts-expect-error no such kind
  await client.listTitles({ query: { kind: "film" } });
  // @ts-expect-error the path is missing
  await client.getTitle();
  // @ts-expect-error an account has no such field
  (await client.getAccount()).mail;
  // @ts-expect-error not a list
  client.iterate("getAccount");
  // @ts-expect-error no such code
  ApiError.is(new Error(), "email_token");
  const account: components["schemas"]["AccountOut"] = await client.getAccount();
  account.id.trim();
}

let failed = 0;
for (const [name, check] of Object.entries(checks)) {
  try {
    await check();
    await plan();
    console.log(`ok ${name}`);
  } catch (error) {
    failed++;
    console.log(`FAILED ${name}\n`, error);
  }
}
if (failed) throw new Error(`${failed} checks failed`);
