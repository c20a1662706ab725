// The bank that confirms a payment (3-D Secure): Stripe's window, or the sandbox's page that plays a bank.
import { api } from "./api.js";
import { actions, h, muted, openDialog } from "./dom.js";
import { formatMoney, t } from "./i18n.js";
import { declineMessage } from "./messages.js";

// Sends a request that charges. If the bank wants to see the customer, opens its window, then asks what came of it.
export async function authenticated(config, request) {
  try {
    return await request();
  } catch (problem) {
    if (problem.code !== "authentication_required" || !problem.payment_id) throw problem;
    const refresh = () => api("POST", `/invoices/${problem.invoice_id}/payments/${problem.payment_id}/refresh`);
    if (problem.next_action?.type === "stripe") {
      const { authenticate } = await import("./payment.js");
      await authenticate(config, problem.next_action.client_secret);
    } else if (problem.next_action?.type === "sandbox_authentication") await askSandboxBank(problem, await refresh());
    else throw problem;
    const payment = await refresh();
    requirePaid(payment);
    return payment;
  }
}
async function askSandboxBank({ payment_id }, payment) {
  const approve = await openDialog(t("Sandbox Bank"), (close) => [
    h("p", {}, t("streamsvc asks for {amount}. Do you approve?", { amount: formatMoney(payment) })),
    muted(t("This page simulates your bank, which would now ask for a code or your fingerprint. No money moves.")),
    actions(
      h("button", { type: "button", class: "primary", onclick: () => close(true) }, t("Approve payment")),
      h("button", { type: "button", onclick: () => close(false) }, t("Reject payment")),
    ),
  ]);
  await api("POST", `/sandbox/bank/payments/${payment_id}`, { approve: approve === true }); // who closes it has not approved
}
export function requirePaid({ status, decline_code }) {
  if (status === "failed" || status === "requires_action")
    throw new Error(
      declineMessage(decline_code ?? "authentication_failed") ?? t("The payment was declined; try another card."),
    );
  if (status !== "succeeded")
    throw new Error(t("The outcome of the payment is not known yet. You will receive an email."));
}
