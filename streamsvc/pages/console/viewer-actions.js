// What an operator does for a viewer. Each says what it will do, previews it where the API can, and says what it did.
import { api, can, get } from "./api.js";
import { change } from "./dialog.js";
import { button, counted, day, download, facts, h, minorOf, money, priceText, time } from "./dom.js";
import { input, optional, select } from "./form.js";

const list = (...actions) => h("p", { class: "actions" }, actions.flat().filter(Boolean));
const reason = (hint) =>
  input("Reason", "reason", { maxlength: 300, hint: hint ?? "It is recorded in the audit log." });

export function accountActions(account, show) {
  const path = `/admin/accounts/${account.id}`,
    who = account.email ?? account.id;
  const open = (options) => change({ done: show, ...options, title: `${options.title}: ${who}` });
  const mayWrite = can("support", true),
    mayAdmin = can("admin", true),
    isActive = account.status === "active";
  return list(
    mayWrite &&
      isActive && [
        button("Send password reset", () =>
          open({
            title: "Send a password reset",
            verb: "Send",
            explain: `${who} gets an email with a link to set a new password. The old one works until then.`,
            run: async () => {
              await api("POST", `${path}/password-resets`);
              return `A link to set a new password is on its way to ${who}.`;
            },
          }),
        ),
        button("View as them", () => impersonate(account, open)),
      ],
    mayWrite &&
      button("Sign out everywhere", () =>
        open({
          title: "Sign out everywhere",
          verb: "End all sessions",
          explain:
            "Every session of the account ends at once, playing streams stop, and trusted devices lose their trust. The password stays.",
          preview: async () => {
            const { items } = await get(`${path}/sessions?limit=100`);
            return h(
              "p",
              {},
              items.length
                ? `${counted(items.length, "session")} will end: ${items.map(({ device }) => device.name).join(", ")}.`
                : "There is no session at the moment; pending sign-ins of televisions will be denied.",
            );
          },
          run: async () => {
            await api("DELETE", `${path}/sessions`);
            return "All sessions are ended.";
          },
        }),
      ),
    mayWrite &&
      account.status !== "deleted" &&
      button(isActive ? "Disable" : "Enable", () =>
        open(
          isActive
            ? {
                title: "Disable the account",
                verb: "Disable",
                danger: true,
                explain: "Nobody can sign in to it, and everybody is signed out at once. The subscription continues.",
                fields: [reason()],
                run: async (values) => {
                  await api("PATCH", path, { status: "disabled", ...values });
                  return `${who} is disabled and signed out.`;
                },
              }
            : {
                title: "Enable the account",
                verb: "Enable",
                explain: "Its owner can sign in again.",
                run: async () => {
                  await api("PATCH", path, { status: "active" });
                  return `${who} can sign in again.`;
                },
              },
        ),
      ),
    mayAdmin && [
      button("Export data", () =>
        open({
          title: "Export personal data",
          verb: "Export",
          explain:
            "A file with everything stored about the account, as its owner can get it. The export is recorded in the audit log.",
          run: async () => {
            download(
              `${account.id}.json`,
              "application/json",
              JSON.stringify(await api("POST", `${path}/exports`), null, 1),
            );
            return "The file is in your downloads. Keep it as safe as what is in it.";
          },
        }),
      ),
      account.status !== "deleted" &&
        button(
          "Close and erase",
          () =>
            open({
              title: "Close the account",
              verb: "Close it",
              danger: true,
              explain:
                "The subscription and all sessions end at once. The owner gets a link that restores the account within the grace period; then everything is erased that tax law does not require to be kept.",
              fields: [input(`Type ${who} to confirm`, "confirm", { autocomplete: "off" })],
              run: async ({ confirm }) => {
                if (confirm !== who) throw new Error(`Type ${who} to confirm.`);
                await api("DELETE", path);
                return "The account is closed. An email tells the owner how to restore it.";
              },
            }),
          { class: "danger" },
        ),
    ],
  );
}

function impersonate(account, open) {
  open({
    title: "View as them",
    verb: "Start",
    explain:
      "Shows what the owner sees, for half an hour, read-only: nothing can be changed or played. The owner sees the session and your reason.",
    fields: [reason("The owner of the account sees it.")],
    run: async (values) => {
      const { token, expires_at } = await api("POST", `/admin/accounts/${account.id}/impersonations`, values);
      const headers = { Authorization: `Bearer ${token}` };
      const [me, profiles, invoices] = await Promise.all(
        ["/sessions/current", "/profiles", "/invoices?limit=5"].map((path) => api("GET", path, undefined, { headers })),
      );
      return [
        h("p", {}, "The session ends ", time(expires_at), ". This is what the owner sees:"),
        facts([
          ["Plan", me.entitlements.plan ?? "none"],
          ["May play", me.entitlements.active ? "yes" : "no"],
          ["Streams at once", me.entitlements.max_streams],
          ["Profiles", profiles.items.map(({ name, kids }) => name + (kids ? " (kids)" : "")).join(", ")],
          [
            "Invoices",
            invoices.items
              .map(
                ({ number, status, total_minor, currency }) =>
                  `${number ?? "draft"}: ${money(total_minor, currency)}, ${status}`,
              )
              .join("; ") || "none",
          ],
        ]),
        h(
          "details",
          {},
          h("summary", {}, "Token for your front end"),
          h("p", { class: "muted" }, "A front end can show more: use this token there like a viewer's."),
          h("code", { class: "wrap" }, token),
        ),
      ];
    },
  });
}

export function subscriptionActions(account, subscription, show) {
  if (!can("billing", true)) return null;
  const open = (options) =>
    change({ done: show, ...options, title: `${options.title}: ${account.email ?? account.id}` });
  const path = subscription && `/admin/subscriptions/${subscription.id}`,
    isLive = subscription && subscription.status !== "canceled";
  return list(
    isLive && [
      button("Change plan", () => changePlan(account, subscription, open)),
      button("Cancel", () => cancel(account, subscription, open)),
      subscription.parked_at
        ? button("Release the hold", () =>
            open({
              title: "Release the billing hold",
              verb: "Release",
              explain: [
                "The books must agree again; what fell due meanwhile is billed at once.",
                h("br"),
                `Held because: ${subscription.parked_reason}`,
              ],
              run: async () => {
                await api("DELETE", `${path}/parking`);
                return "The hold is released; what fell due is being billed.";
              },
            }),
          )
        : button("Hold billing", () =>
            open({
              title: "Hold billing",
              verb: "Hold",
              explain: "Nothing is billed until the hold is released. What the subscription gives access to stays.",
              fields: [reason()],
              run: async (values) => {
                await api("PUT", `${path}/parking`, values);
                return "Nothing will be billed until you release the hold.";
              },
            }),
          ),
    ],
    account.status !== "deleted" && button("Give credit", () => giveCredit(account, subscription, open)),
  );
}

async function changePlan(account, subscription, open) {
  const { items: plans } = await get(`/plans?country=${account.country}`);
  const prices = plans
    .filter(({ addon }) => !addon)
    .flatMap((plan) =>
      plan.prices
        .filter(({ id, currency }) => id !== subscription.price.id && currency === subscription.price.currency)
        .map((price) => [price.id, `${plan.name}: ${priceText(price)}`]),
    );
  if (!prices.length) throw new Error("There is no other price in this currency and country.");
  open({
    title: "Change plan",
    verb: "Change it",
    explain: `Now: ${subscription.plan.name}, ${priceText(subscription.price)}.`,
    fields: [
      select("New price", "price_id", prices),
      select("When", "when", [
        ["auto", "Upgrades now, downgrades at the end of the period"],
        ["now", "Now"],
        ["period_end", "At the end of the paid period"],
      ]),
    ],
    preview: async (values) =>
      invoicePreview(
        await api("POST", "/admin/invoice-previews", {
          account_id: account.id,
          subscription_id: subscription.id,
          ...values,
        }),
      ),
    run: async (values) => {
      const changed = await api("POST", `/admin/subscriptions/${subscription.id}/plan-change`, values);
      return changed.pending_change
        ? `The plan changes on ${day(changed.pending_change.effective)}.`
        : `The plan is now ${changed.plan.name}, ${priceText(changed.price)}.`;
    },
  });
}

function cancel(account, subscription, open) {
  open({
    title: "Cancel the subscription",
    verb: "Cancel it",
    danger: true,
    explain: "At the end of the period, or now: then unused days are credited.",
    fields: [
      select("When", "when", [
        ["period_end", "At the end of the paid period"],
        ["now", "Now, with credit for unused days"],
      ]),
      optional("Reason", "reason", { maxlength: 200 }),
    ],
    preview: async ({ when }) =>
      invoicePreview(
        await api("POST", "/admin/invoice-previews", {
          account_id: account.id,
          subscription_id: subscription.id,
          when,
          credit: when === "now" ? "prorated" : null,
        }),
      ),
    run: async ({ when, reason }) => {
      const done = await api("POST", `/admin/subscriptions/${subscription.id}/cancellation`, {
        when,
        reason: reason || null,
      });
      return done.cancel_at ? ["The subscription ends ", time(done.cancel_at), "."] : "The subscription has ended.";
    },
  });
}

function giveCredit(account, subscription, open) {
  const currency = subscription?.price.currency ?? "";
  open({
    title: "Give credit",
    verb: "Give it",
    explain: "It pays the next invoices before any card is charged.",
    fields: [
      input("Amount", "amount", {
        inputmode: "decimal",
        pattern: "[0-9]+([.][0-9]+)?",
        title: "A number such as 4.99",
      }),
      input("Currency", "currency", { value: currency, maxlength: 3, minlength: 3, pattern: "[A-Za-z]{3}" }),
      reason("Shown in the account's balance."),
    ],
    preview: ({ amount, currency }) =>
      h("p", {}, `${account.email} gets ${money(minorOf(amount, currency), currency.toUpperCase())} of credit.`),
    run: async ({ amount, currency, reason }) => {
      const { balances } = await api("POST", `/admin/accounts/${account.id}/credits`, {
        amount_minor: minorOf(amount, currency),
        currency: currency.toUpperCase(),
        reason,
      });
      return `Done. The account's credit is now ${balances.map((balance) => money(balance.amount_minor, balance.currency)).join(", ")}.`;
    },
  });
}

// The invoice that a change would create, to the cent; the API runs the change and rolls it back.
export function invoicePreview(preview) {
  const { currency, lines, total_minor, amount_due_minor, credit_applied_minor, next_renewal } = preview;
  const amount = (minor) => money(minor, currency);
  return [
    h(
      "table",
      {},
      h("caption", {}, "What will be invoiced"),
      h(
        "tbody",
        {},
        lines.map((line) =>
          h("tr", {}, h("td", {}, line.description), h("td", { class: "numeric" }, amount(line.amount_minor))),
        ),
      ),
      h(
        "tfoot",
        {},
        h("tr", {}, h("th", { scope: "row" }, "Total"), h("td", { class: "numeric" }, amount(total_minor))),
        credit_applied_minor
          ? h(
              "tr",
              {},
              h("th", { scope: "row" }, "From credit"),
              h("td", { class: "numeric" }, amount(-credit_applied_minor)),
            )
          : null,
        h("tr", {}, h("th", { scope: "row" }, "To pay"), h("td", { class: "numeric" }, amount(amount_due_minor))),
      ),
    ),
    h(
      "p",
      { class: "muted" },
      `On ${day(preview.due_date)}.`,
      next_renewal && ` The renewal after it: ${amount(next_renewal.total_minor)} on ${day(next_renewal.date)}.`,
    ),
  ];
}

export function refund(invoice, show) {
  const refundable = invoice.payments
    .filter(({ status }) => status === "succeeded")
    .reduce((sum, payment) => sum + payment.amount_minor - payment.refunded_minor, 0);
  if (refundable <= 0) return null;
  const amountOf = ({ amount }) => (amount ? minorOf(amount, invoice.currency) : null);
  return button("Refund", () =>
    change({
      title: `Refund ${invoice.number ?? invoice.id}`,
      verb: "Refund",
      done: show,
      danger: true,
      explain: `Up to ${money(refundable, invoice.currency)} goes back to the card that was charged.`,
      fields: [
        optional("Amount", "amount", {
          inputmode: "decimal",
          pattern: "[0-9]+([.][0-9]+)?",
          title: "A number such as 4.99",
          hint: "Empty: all of it.",
        }),
        reason(),
      ],
      preview: (values) =>
        h("p", {}, `${money(amountOf(values) ?? refundable, invoice.currency)} will be refunded, with a credit note.`),
      run: async (values) => {
        const done = await api("POST", `/admin/invoices/${invoice.id}/refunds`, {
          amount_minor: amountOf(values),
          reason: values.reason,
          credit_note: true,
        });
        return `${money(done.amount_minor, done.currency)} is refunded (${done.status}).`;
      },
    }),
  );
}
