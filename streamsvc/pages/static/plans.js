// Plans on sale, and what one has: change, pause, cancel, come back.
import { api, idempotent, refreshSession, state } from "./api.js";
import { likelyCountry } from "./countries.js";
import { actions, ask, askForm, button, h, heading, input, link, notify, select } from "./dom.js";
import { formatDate, formatPrice, language, qualityName, t, tn } from "./i18n.js";

const CURRENCIES = { US: "USD", GB: "GBP", JP: "JPY" };
const REASONS = () => [
  ["", t("No answer")],
  ["too_expensive", t("Too expensive")],
  ["unused", t("I do not watch enough")],
  ["missing_content", t("Nothing left to watch")],
  ["technical", t("Technical problems")],
  ["other", t("Another reason")],
];
const STATUS = {
  incomplete: t("not paid yet"),
  trialing: t("free trial"),
  active: t("active"),
  past_due: t("payment overdue"),
  paused: t("paused"),
  canceled: t("ended"),
};

const features = ({ max_streams, max_height, max_profiles, downloads, ads }) =>
  h(
    "ul",
    { class: "features" },
    [
      tn("{n} screen at once", "{n} screens at once", max_streams),
      t("up to {quality}", { quality: qualityName(max_height) }),
      max_profiles && tn("{n} profile", "{n} profiles", max_profiles),
      downloads && t("downloads"),
      ads ? t("with ads") : t("without ads"),
    ]
      .filter(Boolean)
      .map((text) => h("li", {}, text)),
  );

export const currentSubscription = () =>
  ["canceled", undefined].includes(state.me?.subscription?.status) ? null : state.me.subscription;

export async function plans() {
  const { items } = await api("GET", "/plans" + (state.me ? `?country=${state.me.account.country}` : ""));
  const subscription = currentSubscription();
  const currencies = [...new Set(items.flatMap((plan) => plan.prices.map((price) => price.currency)))].sort();
  const localCurrency = CURRENCIES[state.me?.account.country ?? likelyCountry()] ?? "EUR";
  const offer = (price) => [
    h(
      "p",
      {},
      h("span", { class: "price" }, formatPrice(price)),
      price.trial_days > 0 &&
        h(
          "span",
          { class: "block muted" },
          tn("The first day is free.", "The first {n} days are free.", price.trial_days),
        ),
    ),
    price.id === subscription?.price_id
      ? h("p", { class: "muted" }, t("Your current plan"))
      : state.me && link(`#/buy/${price.id}`, subscription ? t("Switch to this plan") : t("Choose this plan")),
  ];
  const list = h("ul", { class: "plans" });
  const fill = (currency) =>
    list.replaceChildren(
      ...items
        .map((plan) => [plan, plan.prices.filter((price) => price.currency === currency)])
        .filter(([, prices]) => prices.length)
        .map(([plan, prices]) =>
          h(
            "li",
            {},
            h("h2", {}, plan.name),
            language === "en" && plan.description && h("p", { class: "muted" }, plan.description),
            features(plan.features),
            prices.map(offer),
          ),
        ),
    );
  const shown = currencies.includes(localCurrency) ? localCurrency : currencies[0];
  const choice = select(
    t("Currency"),
    "currency",
    currencies.map((currency) => [currency, currency]),
    shown,
    { onchange: ({ target }) => fill(target.value) },
  );
  fill(shown);
  return [
    heading(subscription ? t("Your plan") : state.me?.subscription ? t("Come back") : t("Choose a plan")),
    subscription && (await subscriptionPanel(subscription, items)),
    currencies.length > 1 && h("p", { class: "inline" }, choice),
    items.length ? list : h("p", {}, t("No plan is sold here at the moment.")),
    !state.me && actions(link("#/sign-up", t("Create an account"), "button primary")),
  ];
}

async function subscriptionPanel({ id }, items) {
  const details = await api("GET", `/subscriptions/${id}`);
  const { status, plan, price, period, cancel_at, resumes_at, trial_end, pending_change } = details;
  const change = (text, action, attributes) =>
    button(
      text,
      async () => {
        if ((await action()) === false) return;
        await refreshSession();
        document.dispatchEvent(new Event("reload"));
      },
      attributes,
    );
  const pendingPlan =
    pending_change && items.find(({ prices }) => prices.some((each) => each.id === pending_change.price_id));
  const facts = [
    cancel_at
      ? t("ends on {day}", { day: formatDate(cancel_at) })
      : status === "paused"
        ? resumes_at
          ? t("resumes on {day}", { day: formatDate(resumes_at) })
          : t("until you resume it")
        : period && t("next billing date {day}", { day: formatDate(period.end) }),
    status === "trialing" && trial_end && t("free until {day}", { day: formatDate(trial_end) }),
    pendingPlan &&
      t("changes to {plan} on {day}", { plan: pendingPlan.name, day: formatDate(pending_change.effective) }),
  ].filter(Boolean);
  return h(
    "div",
    { class: "panel" },
    h("p", {}, h("strong", {}, plan.name), ` · ${[STATUS[status], ...facts].join(" · ")}`),
    h("p", { class: "muted" }, formatPrice(price)),
    actions(
      cancel_at
        ? change(t("Keep subscription"), () => api("DELETE", `/subscriptions/${id}/cancellation`), { class: "primary" })
        : [
            pending_change &&
              change(t("Keep the current plan"), () => api("DELETE", `/subscriptions/${id}/plan-change`)),
            status === "paused"
              ? change(t("Resume subscription"), () => api("DELETE", `/subscriptions/${id}/pause`), {
                  class: "primary",
                })
              : status === "active" && change(t("Pause subscription"), () => pause(id)),
            change(t("Cancel subscription"), () => cancel(details)),
          ],
      link("#/cards", t("Cards")),
      link("#/invoices", t("Invoices")),
    ),
  );
}
async function pause(id) {
  const tomorrow = new Date(Date.now() + 86_400_000).toISOString().slice(0, 10);
  return (
    (await askForm(
      t("Pause your subscription?"),
      t("Pause"),
      async ({ day }) => {
        await api("POST", `/subscriptions/${id}/pause`, day ? { resumes_at: day } : {}, idempotent());
        return true;
      },
      h("p", {}, t("The days that you have paid for are kept. Nothing plays and nothing is charged until you resume.")),
      input(t("Resume automatically on (optional)"), "day", { type: "date", min: tomorrow, required: false }),
    )) === true
  );
}
async function cancel({ id, period, plan }) {
  const done = await askForm(
    t("Cancel {plan}?", { plan: plan.name }),
    t("Cancel subscription"),
    async ({ reason }) => {
      await api(
        "POST",
        `/subscriptions/${id}/cancellation`,
        { when: "period_end", ...(reason && { reason }) },
        idempotent(),
      );
      return true;
    },
    h(
      "p",
      {},
      period
        ? t("You can watch until {day}. Nothing is charged after that, and you can change your mind until then.", {
            day: formatDate(period.end),
          })
        : t("You will not be charged again."),
    ),
    select(t("Why are you leaving? (optional)"), "reason", REASONS(), ""),
  );
  if (done === true) notify(t("Your subscription will end. You can still keep it."));
  return done === true;
}
