// One viewer: who they are, what they pay, what happened, what can be done for them.
import { can, get } from "./api.js";
import { badge, day, facts, h, link, panel, priceText, sentence, status, time } from "./dom.js";
import { accountActions, subscriptionActions } from "./viewer-actions.js";
import { devices, explain, invoices, timeline } from "./viewer-parts.js";

const PARTS = {
  timeline: ["Timeline", timeline, "support"],
  invoices: ["Invoices", invoices, "billing"],
  devices: ["Sessions and streams", devices, "support"],
  explain: ["Why can't they watch this?", explain, "support"],
};

export default async function viewer({ rest: [id, part = "timeline"], show }) {
  const account = await get(`/admin/accounts/${id}`);
  const { items: subscriptions } = can("billing")
    ? await get(`/admin/subscriptions?account_id=${account.id}&limit=5`)
    : { items: [] };
  const [subscription] = subscriptions;
  const shown = PARTS[part] && can(PARTS[part][2]) ? part : "timeline";
  const tabs = Object.entries(PARTS)
    .filter(([, [, , scope]]) => can(scope))
    .map(([key, [name]]) => link(`#/viewer/${account.id}/${key}`, name, { "aria-current": key === shown && "page" }));
  return [
    h("p", { class: "crumbs" }, link("#/viewers", "Viewers")),
    h("h1", {}, account.name ?? account.email ?? account.id),
    h(
      "div",
      { class: "columns" },
      panel(
        "Account",
        facts([
          ["Email", account.email],
          ["Email confirmed", account.email_verified ? "yes" : "no"],
          ["State", [status(account.status), account.status_reason && ` ${account.status_reason}`]],
          ["Until", time(account.disabled_until)],
          ["Erased on", time(account.erase_at)],
          ["Country", account.country],
          ["Time zone", account.time_zone],
          ["Language", account.locale],
          ["Since", time(account.created_at)],
          ["Id", h("code", {}, account.id)],
        ]),
        accountActions(account, show),
      ),
      can("billing") &&
        panel(
          "Subscription",
          subscription ? subscriptionFacts(subscription) : h("p", { class: "muted" }, "No subscription."),
          subscriptionActions(account, subscription, show),
        ),
    ),
    h("nav", { class: "tabs", "aria-label": "About this viewer" }, tabs),
    panel(PARTS[shown][0], await PARTS[shown][1](account, show)),
  ];
}

function subscriptionFacts(subscription) {
  const { plan, price, period, pending_change } = subscription;
  return facts([
    ["Plan", `${plan.name}, ${priceText(price)}`],
    [
      "State",
      [
        status(subscription.status),
        subscription.parked_at && " ",
        subscription.parked_at && badge("on billing hold", "warn"),
      ],
    ],
    ["Hold", subscription.parked_reason],
    ["Paid period", period && `${day(period.start)} to ${day(period.end)}`],
    ["Trial ends", time(subscription.trial_end) ?? ""],
    ["Ends", time(subscription.cancel_at) ?? ""],
    ["Ended", time(subscription.canceled_at) ?? ""],
    ["Reason", subscription.cancel_reason],
    ["Changes", pending_change && `to another price on ${day(pending_change.effective)}`],
    ["Past due since", subscription.past_due_since && sentence(subscription.past_due_since)],
    ["Access until", time(subscription.access_until) ?? ""],
    ["Id", h("code", {}, subscription.id)],
  ]);
}
