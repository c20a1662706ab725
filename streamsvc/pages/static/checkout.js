// Checkout: what a plan will cost, with which card, and the bank's confirmation.
import { api, idempotent, refreshSession } from "./api.js";
import { authenticated, requirePaid } from "./bank.js";
import { cardChoice, isNewCard, newCardField, payWith } from "./cards.js";
import { actions, facts, form, h, heading, input, link, main, notify, render } from "./dom.js";
import { formatDate, formatMoney, t } from "./i18n.js";
import { currentSubscription } from "./plans.js";

const previewTable = (preview) =>
  facts([
    ...preview.lines.map((line) => [
      [
        line.description,
        line.period &&
          h("small", { class: "block" }, `${formatDate(line.period.start)} – ${formatDate(line.period.end)}`),
      ],
      formatMoney(preview, line.amount_minor),
    ]),
    ...(preview.discount_minor ? [[t("Discount"), formatMoney(preview, -preview.discount_minor)]] : []),
    ...(preview.tax_minor ? [[preview.tax_name ?? t("Tax"), formatMoney(preview, preview.tax_minor)]] : []),
    ...(preview.credit_applied_minor
      ? [[t("From your credit"), formatMoney(preview, -preview.credit_applied_minor)]]
      : []),
    [t("Due now"), h("strong", {}, formatMoney(preview, preview.amount_due_minor))],
    ...(preview.next_renewal
      ? [
          [
            t("Next renewal"),
            t("{amount} on {day}", {
              amount: formatMoney(preview, preview.next_renewal.total_minor),
              day: formatDate(preview.next_renewal.date),
            }),
          ],
        ]
      : []),
  ]);

export async function buy(priceId, query, page, chosenCard) {
  const subscription = currentSubscription();
  const codes = Object.fromEntries(
    ["coupon", "referral_code"].filter((name) => query.get(name)).map((name) => [name, query.get(name)]),
  );
  const order = subscription ? { price_id: priceId, when: "auto" } : { price_id: priceId, ...codes };
  const [config, { items: cards }, preview] = await Promise.all([
    api("GET", "/payment-config"),
    api("GET", "/payment-methods"),
    api("POST", "/invoice-previews", subscription ? { ...order, subscription_id: subscription.id } : order),
  ]).catch((error) => {
    throw error.errors?.price_id ? new Error(t("This price is not available to you. Choose another plan.")) : error;
  });
  const newCard = newCardField(config, preview.currency, priceId);
  const status = h("p", { class: "muted", role: "status" });
  const placeOrder = () =>
    api("POST", subscription ? `/subscriptions/${subscription.id}/plan-change` : "/subscriptions", order, idempotent());
  const checkout = async ({ card, ...values }) => {
    status.textContent = t("Contacting your bank. This can take a moment.");
    let added = null;
    try {
      if (isNewCard(card)) added = await newCard.add(values);
      await payWith(added?.id ?? card, cards, () => authenticated(config, placeOrder));
    } catch (error) {
      if (!added) throw error;
      render(await buy(priceId, query, page, added.id)); // the card is saved: it need not be entered again
      main.querySelector("[role=alert]").textContent = error.message;
      main.querySelector("button.primary").focus();
      return;
    } finally {
      status.textContent = "";
    }
    await refreshSession();
    notify(t("Done. Enjoy!"));
    location.assign("#/");
  };
  const codeForm = h(
    "details",
    { open: "coupon" in codes || "referral_code" in codes },
    h("summary", {}, t("Do you have a code?")),
    h("br"),
    form(
      t("Apply"),
      ({ coupon, referral_code }) => {
        location.assign(
          `#/buy/${priceId}?${new URLSearchParams({ ...(coupon && { coupon: coupon.trim().toUpperCase() }), ...(referral_code && { referral_code: referral_code.trim().toUpperCase() }) })}`,
        );
      },
      input(t("Coupon"), "coupon", { required: false, value: codes.coupon ?? "", autocomplete: "off" }),
      input(t("A friend’s referral code"), "referral_code", {
        required: false,
        value: codes.referral_code ?? "",
        autocomplete: "off",
      }),
    ),
  );
  return [
    heading(t("Checkout")),
    h("div", { class: "panel bill" }, previewTable(preview)),
    h("br"),
    newCard || cards.length
      ? form(subscription ? t("Change plan") : t("Subscribe"), checkout, cardChoice(cards, newCard, chosenCard), status)
      : h("p", { class: "error" }, t("Payments are not set up here yet.")),
    !subscription && codeForm,
  ];
}

// Where the bank's page sends the customer back to. Stripe adds its parameters before the fragment.
export async function paymentReturn(priceId) {
  const query = new URLSearchParams(location.search);
  history.replaceState(null, "", location.pathname + location.hash); // the client secret does not stay in the history
  const result = (title, to, label, text) => [
    heading(title),
    text && h("p", { class: "error", role: "alert" }, text),
    actions(link(to, label, "button primary")),
  ];
  const checkout = priceId ? `#/buy/${priceId}` : "#/plans";
  try {
    if (query.has("setup_intent")) {
      await api("POST", "/payment-methods", { setup_id: query.get("setup_intent") }, idempotent());
      return result(t("Your card is saved"), checkout, t("Continue to checkout"));
    }
    const { items } = await api("GET", "/invoices?limit=12");
    const waiting = items
      .flatMap(({ payments }) => payments)
      .filter(({ status }) => ["requires_action", "unknown", "pending"].includes(status));
    for (const { id, invoice_id } of waiting)
      requirePaid(await api("POST", `/invoices/${invoice_id}/payments/${id}/refresh`));
    await refreshSession();
    return result(waiting.length ? t("Your payment succeeded") : t("No payment is waiting"), "#/", t("Continue"));
  } catch (error) {
    return result(t("It did not work"), checkout, t("Back to checkout"), error.message);
  }
}
