// Cards: choosing one to pay with, adding one, and managing those that are saved.
import { api, idempotent, refreshSession } from "./api.js";
import { actions, ask, button, form, h, heading, itemList, link, notify, section } from "./dom.js";
import { capitalize, t } from "./i18n.js";
import { declineMessage } from "./messages.js";

const NEW_CARD = "new";
export const cardName = ({ brand, last4, exp_month, exp_year }) => {
  const values = {
    brand: brand ? capitalize(brand) : t("Card"),
    last4: last4 ?? "?",
    expiry: exp_year && `${String(exp_month).padStart(2, "0")}/${exp_year}`,
  };
  return exp_year
    ? t("{brand} ending in {last4}, valid until {expiry}", values)
    : t("{brand} ending in {last4}", values);
};

// What adds a card: the provider's form, or the test cards where the sandbox is on. null where neither can be.
export function newCardField(config, currency, returnTo) {
  if (config.publishable_key) return stripeCard(config, currency, returnTo);
  return config.provider === "sandbox" && config.sandbox ? sandboxCard() : null;
}
// The saved cards and a new one. Chosen is the given card, else the default one.
export function cardChoice(cards, newCard, chosenCard) {
  if (!cards.length) {
    newCard.fields.setAttribute("data-mount", "");
    return newCard.fields;
  }
  const chosen = cards.find((card) => card.id === chosenCard) ?? cards.find((card) => card.is_default);
  const choices = cards.map((card) => [card.id, cardName(card)]);
  if (newCard) {
    choices.push([NEW_CARD, t("Another card")]);
    newCard.fields.hidden = true;
  }
  const choose = ({ target }) => {
    if (!newCard) return;
    newCard.fields.hidden = target.value !== NEW_CARD;
    if (target.value === NEW_CARD) newCard.show();
  };
  return [
    h(
      "fieldset",
      { onchange: choose },
      h("legend", {}, t("Pay with")),
      choices.map(([value, text], index) =>
        h(
          "label",
          { class: "choice" },
          h("input", { type: "radio", name: "card", value, checked: chosen ? value === chosen.id : index === 0 }),
          text,
        ),
      ),
    ),
    newCard?.fields,
  ];
}
function sandboxCard() {
  const cards = {
    pm_card_visa: t("Visa: payment succeeds"),
    pm_card_chargeDeclined: t("Card: payment is declined"),
    pm_card_authenticationRequired: t("Card: bank requires authentication"),
  };
  const fields = h(
    "label",
    {},
    t("Sandbox cards (no money moves)"),
    h(
      "select",
      { name: "token" },
      Object.entries(cards).map(([value, text]) => h("option", { value }, text)),
    ),
  );
  return { fields, show: () => {}, add: ({ token }) => api("POST", "/payment-methods", { token }, idempotent()) };
}
function stripeCard(config, currency, returnTo) {
  const message = h("p", { class: "muted", role: "status" }),
    box = h("div", { class: "card-form" });
  let opening = null,
    opened = null;
  const show = async () => {
    if (opening) return;
    message.replaceChildren(t("Loading the payment form…"));
    try {
      opening = import("./payment.js").then(({ createCardForm }) => createCardForm(config, currency, box));
      opened = await opening;
      message.replaceChildren();
    } catch (error) {
      opening = null;
      message.replaceChildren(error.message, " ", button(t("Try again"), show));
    }
  };
  const fields = h("div", { role: "group", "aria-label": t("Card"), onmount: show }, message, box);
  const add = async () => {
    if (!opened) throw new Error(t("The payment form is not loaded yet."));
    const returnUrl = `${location.origin}${location.pathname}#/payment-return/${returnTo}`;
    try {
      const setup_id = await opened.confirm(() => api("POST", "/payment-methods/setup"), returnUrl);
      return await api("POST", "/payment-methods", { setup_id }, idempotent());
    } catch (error) {
      throw Object.assign(error, { message: declineMessage(error.decline_code) ?? error.message });
    }
  };
  return { fields, show, add };
}
export const isNewCard = (value) => !value || value === NEW_CARD;

// Makes the card the default, which the order charges. A declined card does not stay the default.
export async function payWith(methodId, cards, order) {
  const previous = cards.find((card) => card.is_default);
  const setDefault = (id) => api("PUT", `/payment-methods/${id}/default`);
  if (methodId !== previous?.id) await setDefault(methodId);
  try {
    return await order();
  } catch (error) {
    if (previous && methodId !== previous.id) await setDefault(previous.id).catch(() => {});
    throw error;
  }
}

export async function cards(_, __, { show }) {
  const [config, { items }] = await Promise.all([api("GET", "/payment-config"), api("GET", "/payment-methods")]);
  const newCard = newCardField(config, "EUR", "");
  newCard?.fields.setAttribute("data-mount", "");
  const change = (action) => async () => {
    await action();
    await refreshSession();
    await show();
  };
  const remove = async (card) => {
    if (
      !(await ask(
        t("Remove this card?"),
        [cardName(card), card.is_default && t("It pays for your plan.")].filter(Boolean),
        t("Remove"),
      ))
    )
      return;
    await change(() => api("DELETE", `/payment-methods/${card.id}`))();
  };
  return [
    heading(t("Cards")),
    itemList(
      items,
      (card) => [
        h("span", {}, cardName(card), card.is_default && h("strong", {}, ` ${t("(default)")}`)),
        !card.is_default &&
          button(
            t("Make default"),
            change(() => api("PUT", `/payment-methods/${card.id}/default`)),
            { "aria-label": t("Make default: {card}", { card: cardName(card) }) },
          ),
        button(t("Remove"), () => remove(card), { "aria-label": t("Remove {name}", { name: cardName(card) }) }),
      ],
      t("No cards yet."),
    ),
    newCard &&
      section(
        t("Add a card"),
        form(
          t("Save card"),
          async (values) => {
            await newCard.add(values);
            notify(t("Your card is saved."));
            await show();
          },
          newCard.fields,
        ),
      ),
    actions(link("#/account", t("Back to your account"))),
  ];
}
