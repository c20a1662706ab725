// Gifts: redeeming a code, and buying one for somebody.
import { api, idempotent, refreshSession, state } from "./api.js";
import { authenticated } from "./bank.js";
import { cardChoice, isNewCard, newCardField } from "./cards.js";
import { actions, form, h, heading, input, itemList, link, muted, section, select, showStep } from "./dom.js";
import { formatDate, formatMoney, formatPrice, t } from "./i18n.js";

const GIFT_MESSAGES = {
  // by the reason of gift_code_invalid
  unknown: t("We do not know this code. Compare it with the one that you were sent."),
  redeemed: t("This gift has already been redeemed. A code can be used once."),
  revoked: t("This gift was taken back, because its purchase was refunded or disputed."),
  expired: t("This gift has expired."),
};
const STATES = {
  awaiting_payment: t("not paid yet"),
  canceled: t("canceled"),
  scheduled: t("will be sent"),
  delivered: t("sent"),
  redeemed: t("redeemed"),
  refunded: t("refunded"),
  revoked: t("taken back"),
  expired: t("expired"),
};

// The target of the link in a gift mail. Whoever has to sign in first comes back to it with the code.
export function gift(_, query) {
  const code = query.get("code") ?? sessionStorage.gift ?? "";
  if (!state.me) {
    sessionStorage.gift = code;
    return [
      heading(t("Redeem a gift")),
      h("p", {}, t("Sign in, or create an account, to redeem your gift. No card is needed.")),
      actions(
        link("#/sign-up", t("Create an account"), "button primary"),
        link("#/sign-in", t("Sign in to your account")),
      ),
    ];
  }
  delete sessionStorage.gift;
  return [
    heading(t("Redeem a gift")),
    form(
      t("Redeem"),
      async (values) => {
        const redeemed = await api(
          "POST",
          "/gift-redemptions",
          { code: values.code.trim().toUpperCase() },
          idempotent(),
        ).catch((error) => {
          if (error.code === "gift_code_invalid") error.message = GIFT_MESSAGES[error.reason] ?? error.message;
          if (error.code === "gift_code_currency_mismatch")
            error.message = t(
              "This gift is in {currency}, and your account is billed in another currency. The code was not used: somebody else can redeem it.",
              { currency: error.currency },
            );
          throw error;
        });
        await refreshSession();
        showStep(
          t("Your gift is redeemed"),
          ...(redeemed.subscription_id
            ? [
                h(
                  "p",
                  {},
                  t("Your subscription is paid for until {day}.", {
                    day: formatDate(state.me.subscription.period.end),
                  }),
                ),
                actions(link("#/", t("Start watching"), "button primary")),
              ]
            : [
                h(
                  "p",
                  {},
                  t("{amount} of credit is in your account. It pays for your plan before a card does.", {
                    amount: formatMoney(redeemed),
                  }),
                ),
                actions(link("#/plans", t("See the plans"), "button primary")),
              ]),
        );
      },
      input(t("Gift code"), "code", { value: code, autocomplete: "off", spellcheck: "false", maxlength: 40 }),
    ),
    h("p", {}, link("#/give", t("Give a gift"), null)),
  ];
}

export async function give(_, __, { show }) {
  const [config, { items: cards }, { items: plans }, { items: bought }] = await Promise.all([
    api("GET", "/payment-config"),
    api("GET", "/payment-methods"),
    api("GET", `/plans?country=${state.me.account.country}`),
    api("GET", "/gift-purchases?limit=20"),
  ]);
  const offers = plans.flatMap((plan) =>
    plan.prices
      .filter((price) => price.interval === "month" && price.interval_count === 1)
      .map((price) => [price.id, `${plan.name}: ${formatPrice(price)}`]),
  );
  const newCard = newCardField(config, "EUR", "");
  const buyGift = async ({ card, token, months, deliver_on, ...values }) => {
    const method = isNewCard(card) ? (await newCard.add({ token })).id : card;
    const body = { price_id: values.price_id, periods: Number(months), payment_method_id: method };
    for (const name of ["recipient_email", "recipient_name", "message"]) if (values[name]) body[name] = values[name];
    if (deliver_on) body.deliver_on = deliver_on;
    await authenticated(config, () => api("POST", "/gift-purchases", body, idempotent()));
    showStep(
      t("Your gift is bought"),
      h(
        "p",
        {},
        values.recipient_email
          ? t("We send it to {email}.", { email: values.recipient_email })
          : t("We emailed you the code."),
      ),
      actions(link("#/give", t("Your gifts"), "button primary")),
    );
    document.querySelector("main a").addEventListener("click", show);
  };
  return [
    heading(t("Give a gift")),
    muted(t("The recipient needs no card. The code is sent by email.")),
    offers.length && (newCard || cards.length)
      ? form(
          t("Buy the gift"),
          buyGift,
          select(t("Plan"), "price_id", offers, offers[0][0]),
          select(
            t("Months"),
            "months",
            [1, 3, 6, 12].map((n) => [String(n), String(n)]),
            "3",
          ),
          input(t("Their email (empty: the code comes to you)"), "recipient_email", { type: "email", required: false }),
          input(t("Their name"), "recipient_name", { required: false, maxlength: 60 }),
          input(t("Message"), "message", { required: false, maxlength: 200 }),
          input(t("Send on (empty: now)"), "deliver_on", {
            type: "date",
            required: false,
            min: new Date().toISOString().slice(0, 10),
          }),
          cardChoice(cards, newCard),
        )
      : muted(t("No gifts are sold in your country.")),
    section(
      t("Your gifts"),
      itemList(
        bought,
        (purchase) => [
          h(
            "span",
            {},
            purchase.recipient_email ?? t("to hand over yourself"),
            purchase.recipient_name && ` (${purchase.recipient_name})`,
          ),
          h(
            "span",
            { class: "muted" },
            [
              STATES[purchase.state],
              purchase.deliver_on && purchase.state === "scheduled" && formatDate(purchase.deliver_on),
            ]
              .filter(Boolean)
              .join(", "),
          ),
          purchase.code && h("code", {}, purchase.code),
        ],
        t("No gifts yet."),
      ),
    ),
  ];
}
