"""Refunds: money goes back to the payer, for a credit note; without one, the amount is owed on the invoice again."""

from datetime import datetime

from streamsvc import clock
from streamsvc.gateways.payments import charge_step_minor, current_provider
from streamsvc.gateways.payments.interface import DECLINED, SUCCEEDED, UNKNOWN, Outcome
from streamsvc.http import idempotency
from streamsvc.models.subscriptions import CreditNote, Invoice, Payment, Refund
from streamsvc.models.subscriptions.payments import EXTERNAL_PROVIDER
from streamsvc.operations.billing.core import (
    balances,
    charging,
    charging_guard,
    gift_purchases,
    ledger,
    payouts,
    referrals,
)
from streamsvc.operations.billing.core.aggregate import update_live_subscription
from streamsvc.operations.billing.invoices import corrections, credit_notes
from streamsvc.rules.billing.inputs import CreditNoteInput, CreditNoteLineInput, RefundInput
from streamsvc.rules.money import round_down
from streamsvc.rules.refusals.billing import WrongState
from streamsvc.rules.refusals.requests import Invalid
from streamsvc.storage import session_guard
from streamsvc.storage.database import db, new_id, reload_row
from streamsvc.worker import jobs

REFUND_JOB = "refund.reconcile"


def refund_invoice(
    invoice_id: str, body: RefundInput, now: datetime, lines: list[CreditNoteLineInput] | None = None
) -> Refund:
    """Refund payments of the invoice, the latest first, with a credit note unless `credit_note` is false. Commits.

    What the provider cannot refund exactly is rounded down; the rest of a credit note becomes account credit.
    `lines`: the lines to credit; default: the amount. Returns the refund of the latest payment. Raises Invalid,
    WrongState, GiftAlreadyRedeemed.
    """
    if checkpoint := idempotency.load_checkpoint():
        latest, *_ = [resume_refund(refund_id) for refund_id in checkpoint["refunds"]]
        return latest
    account, invoice = corrections.lock_invoice(invoice_id)
    payments = _list_refundable_payments(invoice, body["payment_id"])
    if not body["credit_note"] and gift_purchases.has_usable_code(invoice):
        raise Invalid(errors={"credit_note": ["Must be true for a gift that was not redeemed."]})
    requested_minor, refundable_minor = body["amount_minor"], sum(payment.refundable_minor for payment in payments)
    if requested_minor is None and not lines and len(payments) < len(_list_refundable_payments(invoice, None)):
        requested_minor = refundable_minor  # of one of several payments
    note, amount_minor = None, refundable_minor if requested_minor is None else requested_minor
    if body["credit_note"]:
        credited: CreditNoteInput = {
            "lines": lines,
            "amount_minor": requested_minor,
            "refund": True,
            "reason": body["reason"],
        }
        note = credit_notes.create_credit_note(invoice, credited, now, credit_surplus=False)
        is_full_refund = requested_minor is None and not lines
        # Without an amount only what the payment paid is refunded: what account credit paid becomes credit again.
        amount_minor = min(refundable_minor, note.total_minor) if is_full_refund else note.total_minor
    gift_purchases.require_not_redeemed(invoice)  # by now its code is revoked, unless somebody was faster
    if amount_minor > refundable_minor:
        raise Invalid(errors={"amount_minor": ["Must not exceed what is left of the payment."]})
    refund_ids = []
    for payment in payments:
        part_minor = round_down(min(amount_minor, payment.refundable_minor), _refund_step_minor(payment))
        if part_minor:
            refund = record_refund(payment, part_minor, note, body["reason"], now)
            enqueue_reconciliation(refund, now)
            refund_ids.append(refund.id)
        amount_minor -= part_minor
    if not refund_ids:
        raise Invalid(errors={"amount_minor": ["Must not be less than the smallest amount that can be refunded."]})
    balances.update_status(invoice, now)
    update_live_subscription(account, now)
    idempotency.save_checkpoint(refunds=refund_ids)
    db.session.commit()
    latest, *_ = [send_refund(refund_id) for refund_id in refund_ids]
    return latest


def _refund_step_minor(payment: Payment) -> int:
    """Return the amount of which every refund of the payment is a multiple."""
    return 1 if payment.provider == EXTERNAL_PROVIDER else charge_step_minor(payment.currency)


def enqueue_reconciliation(refund: Refund, now: datetime) -> None:
    """Have a refund that is about to be sent reconciled, should its outcome not become known.

    Raises ReconciliationPending.
    """
    charging_guard.require_reconciled()
    jobs.enqueue_job(REFUND_JOB, {"refund_id": refund.id}, now + charging.RECONCILE_AFTER, f"reconcile {refund.id}")


def record_refund(
    payment: Payment,
    amount_minor: int,
    note: CreditNote | None,
    reason: str | None,
    now: datetime,
    payout_id: str | None = None,
) -> Refund:
    """Record a pending refund of a part of a payment, which counts as refunded from now on.

    `note`: the credit note that it pays out. `payout_id`: the payout of account credit that it is a part of.
    """
    refund = Refund(
        id=new_id("ref"),
        payment_id=payment.id,
        invoice_id=payment.invoice_id,
        credit_note_id=note and note.id,
        payout_id=payout_id,
        status="pending",
        currency=payment.currency,
        amount_minor=amount_minor,
        reason=reason,
        created_at=now,
    )
    payment.refunded_minor += amount_minor
    db.session.add(refund)
    db.session.flush()
    return refund


def resume_refund(refund_id: str) -> Refund:
    """Return the refund, sending it again only if its outcome is unknown."""
    refund = db.session.get_one(Refund, refund_id)
    return send_refund(refund_id) if refund.status in ("pending", "unknown") else refund


def _list_refundable_payments(invoice: Invoice, payment_id: str | None) -> list[Payment]:
    """List the payments of which something is left, the latest first. Raises WrongState if there is none."""
    if invoice.status == "void":
        raise WrongState(detail="Payments of a void invoice became account credit and cannot be refunded.")
    successful = [payment for payment in invoice.payments if payment.status in ("succeeded", "disputed")]
    refundable = [
        payment
        for payment in successful
        if payment.refundable_minor >= _refund_step_minor(payment) and payment_id in (None, payment.id)
    ]
    if not refundable:
        raise WrongState(detail="No payment of this invoice can be refunded.")
    return refundable[::-1]


def send_refund(refund_id: str) -> Refund:
    """Send a recorded refund to the provider and complete it. Commits. Must not be called inside a transaction.

    What came in outside the provider is returned by the operator, outside of it too.
    """
    refund = db.session.get_one(Refund, refund_id)
    if refund.payment.provider == EXTERNAL_PROVIDER:
        return complete_refund(refund_id, Outcome(SUCCEEDED), clock.now())
    charge_reference = refund.payment.provider_reference
    assert charge_reference is not None, "only a payment that the provider confirmed is refunded"
    request = (refund.id, charge_reference, refund.amount_minor, refund.currency)
    db.session.commit()
    session_guard.finish_even_if_signed_out()
    outcome = current_provider().refund(*request)
    if outcome.status == UNKNOWN:
        outcome = current_provider().find_outcome(refund_id) or outcome
    return complete_refund(refund_id, outcome, clock.now())


def complete_refund(refund_id: str, outcome: Outcome, now: datetime) -> Refund:
    """Book the outcome of a refund. Idempotent. Commits."""
    account, invoice = corrections.lock_invoice(db.session.get_one(Refund, refund_id).invoice_id)
    refund = reload_row(Refund, refund_id)
    if refund.payout_id:
        payouts.complete_payout_refund(refund, account, outcome, now)
    elif refund.status in ("pending", "unknown"):
        refund.provider_reference = outcome.reference
        refund.status = {SUCCEEDED: "succeeded", DECLINED: "failed"}.get(outcome.status, "unknown")
        if refund.status == "succeeded":
            book_refund(refund, invoice, now)
            referrals.enqueue_revocation_if_rewarded(account.id, refund.id, now)
        elif refund.status == "failed":
            refund.payment.refunded_minor -= refund.amount_minor
            balances.credit_overpayment(invoice, now)
            balances.update_status(invoice, now)
    update_live_subscription(account, now)
    db.session.commit()
    return refund


def book_refund(refund: Refund, invoice: Invoice, now: datetime) -> None:
    """Book a successful refund: what no credit note covers is owed again."""
    amount_minor, refund.settled_at = refund.amount_minor, now
    ledger.post_journal("refund", invoice, now, refund.payment_id, cash=-amount_minor, receivable=amount_minor)
    invoice.amount_paid_minor -= amount_minor
    invoice.balance_minor += amount_minor
    balances.credit_overpayment(invoice, now)
    balances.collect_reowed_amount(invoice, now)


def record_refund_failure(refund_id: str, now: datetime) -> None:
    """Record that a refund failed. Commits.

    The returned money of a successful refund pays the invoice again; what exceeds its balance becomes account credit.
    """
    refund = db.session.get(Refund, refund_id)
    if refund is None or refund.status != "succeeded":
        if refund and refund.status != "failed":
            complete_refund(refund_id, Outcome(DECLINED, refund.provider_reference), now)
        return
    account, invoice = corrections.lock_invoice(refund.invoice_id)
    refund = reload_row(Refund, refund_id)
    if refund.status == "succeeded" and refund.payout_id:
        payouts.return_failed_refund(refund, account, now)
    elif refund.status == "succeeded":
        amount_minor, refund.status = refund.amount_minor, "failed"
        refund.payment.refunded_minor -= amount_minor
        ledger.post_journal("refund", invoice, now, refund.payment_id, cash=amount_minor, receivable=-amount_minor)
        invoice.amount_paid_minor += amount_minor
        invoice.balance_minor -= amount_minor
        balances.credit_overpayment(invoice, now)
        balances.update_status(invoice, now)
        update_live_subscription(account, now)
    db.session.commit()


@jobs.job_handler(REFUND_JOB)
def reconcile_refund(payload: dict, now: datetime) -> None:
    """Look up the outcome of an unresolved refund at the provider and complete it.

    Raises Retry while it is unknown.
    """
    refund = db.session.get_one(Refund, payload["refund_id"])
    if refund.status not in ("pending", "unknown"):
        return
    if refund.payment.provider == EXTERNAL_PROVIDER:
        send_refund(refund.id)
        return
    outcome = charging.find_outcome(refund, now, refund.payment.provider_reference)
    refund = complete_refund(payload["refund_id"], outcome, now) if outcome else send_refund(payload["refund_id"])
    if refund.status == "unknown":
        raise jobs.Retry(now + charging.RECONCILE_AFTER)
