"""Outcomes of payments: what a success, a decline or a partial capture does to the invoice and its subscription."""

from datetime import datetime, timedelta

from streamsvc.gateways.payments.interface import DECLINED, REQUIRES_ACTION, SUCCEEDED, UNKNOWN, Outcome
from streamsvc.models.subscriptions import Invoice, Payment
from streamsvc.models.subscriptions.payments import payment_finished
from streamsvc.operations.billing.core import (
    balances,
    carryover,
    debts,
    gift_purchases,
    issuing,
    ledger,
    notices,
    referrals,
    voiding,
)
from streamsvc.operations.billing.core.aggregate import SubscriptionAggregate
from streamsvc.operations.outbox.webhooks import publish_event
from streamsvc.rules.billing.calendar import start_of_day
from streamsvc.storage.commit_signals import send_after_commit
from streamsvc.storage.database import batching_session
from streamsvc.worker import jobs

EXPIRE_JOB = "payment.expire"
AUTHENTICATION_TIMEOUT = timedelta(hours=23)
"""How long a payer has to authenticate a payment before it counts as declined."""
PARTIALLY_CAPTURED = "partially_captured"
"""The decline code of what an invoice still lacks after the provider captured less than was asked for."""


def book_outcome(
    payment: Payment, invoice: Invoice, outcome: Outcome, now: datetime, aggregate: SubscriptionAggregate | None
) -> None:
    """Apply an outcome to a payment, its invoice, and its subscription. The caller holds the account's lock.

    `aggregate`: the invoice's subscription; None for a one-off invoice.
    """
    if outcome.status == SUCCEEDED and (payment.is_in_flight or payment.status == "failed"):
        note_captured_amount(payment, outcome.captured_minor)
    if payment.is_in_flight:
        payment.provider_reference = outcome.reference or payment.provider_reference
        _apply_outcome(payment, invoice, outcome, now, aggregate)
    elif payment.status == "failed" and outcome.status == SUCCEEDED:
        record_late_success(payment, invoice, outcome, now)
    if aggregate:
        aggregate.save_projection()


def note_captured_amount(payment: Payment, captured_minor: int | None) -> None:
    """Reduce the payment to what the provider captured of it, if that is less than was asked for."""
    if captured_minor is not None and captured_minor < payment.amount_minor:
        payment.requested_minor, payment.amount_minor = payment.amount_minor, captured_minor


def _apply_outcome(
    payment: Payment, invoice: Invoice, outcome: Outcome, now: datetime, aggregate: SubscriptionAggregate | None
) -> None:
    if outcome.status == UNKNOWN:
        payment.status = "unknown"
        return
    if outcome.status == DECLINED and payment.status == "requires_action":  # the payer could still use another card
        voiding.enqueue_cancellation(payment, now)
    payment.status = {SUCCEEDED: "succeeded", DECLINED: "failed", REQUIRES_ACTION: "requires_action"}[outcome.status]
    payment.decline_code, payment.next_action = outcome.decline_code, outcome.next_action
    if outcome.status == REQUIRES_ACTION:
        expires_at = _authentication_deadline(invoice, now, aggregate)
        jobs.enqueue_job(EXPIRE_JOB, {"payment_id": payment.id}, expires_at, f"expire {payment.id}")
        return
    payment.settled_at = now
    publish_payment_event(payment, invoice, now)
    jobs.cancel_job(f"reconcile {payment.id}")
    is_partial = payment.requested_minor is not None and payment.amount_minor < invoice.balance_minor
    if outcome.status == SUCCEEDED and is_partial and invoice.issued_at is None:
        record_insufficient_capture(payment, invoice, now, aggregate)
    elif outcome.status == SUCCEEDED:
        record_success(payment, invoice, now, aggregate)
        if payment.requested_minor and invoice.status == "open":
            record_decline(invoice, PARTIALLY_CAPTURED, now, aggregate)
    else:
        record_decline(invoice, outcome.decline_code, now, aggregate)


def _authentication_deadline(invoice: Invoice, now: datetime, aggregate: SubscriptionAggregate | None) -> datetime:
    """Return when a payment expires that its payer does not authenticate.

    A change that credits the old price from a later day on is paid for before that day begins, since the old plan
    stands until then: otherwise the day would be used and credited.
    """
    deadline = now + AUTHENTICATION_TIMEOUT
    if aggregate is None or invoice.issued_at is not None:
        return deadline
    time_zone = aggregate.subscription.time_zone
    days = [line.period_start for line in invoice.lines if line.kind == "credit" and line.period_start]
    moments = [start_of_day(day, time_zone) for day in days]
    return min([deadline, *(moment for moment in moments if moment > now)])


def publish_payment_event(payment: Payment, invoice: Invoice, now: datetime) -> None:
    """Publish that a payment has succeeded or failed."""
    details = {"payment_id": payment.id, "amount_minor": payment.amount_minor, "decline_code": payment.decline_code}
    publish_event(f"payment.{payment.status}", payment.account_id, now, **issuing.invoice_payload(invoice), **details)
    send_after_commit(payment_finished, status=payment.status, currency=payment.currency)


def record_success(payment: Payment, invoice: Invoice, now: datetime, aggregate: SubscriptionAggregate | None) -> None:
    """Book a successful payment, issue its invoice, and activate a subscription that was waiting for it."""
    ledger.post_journal(
        "payment", invoice, now, payment.id, cash=payment.amount_minor, receivable=-payment.amount_minor
    )
    invoice.amount_paid_minor += payment.amount_minor
    invoice.balance_minor -= payment.amount_minor
    is_overpaid = invoice.balance_minor < 0  # by what was carried over, or credited while the payment was in flight
    balances.credit_overpayment(invoice, now)
    issuing.issue_invoice(invoice, now)
    balances.update_status(invoice, now)
    if is_overpaid:
        carryover.pay_carried_over(invoice, now)
    if invoice.number is None:  # the receipt shows it
        batching_session().write()
    if payment.on_session and payment.method:  # the bank saw the customer: the card can be charged later
        payment.method.set_up_at = payment.method.set_up_at or now
    notices.enqueue_receipt(payment, invoice, aggregate)
    if invoice.status == "paid":
        gift_purchases.create_bought_code(invoice, now)
    if invoice.status == "paid" and invoice.subscription_id:
        referrals.enqueue_reward_if_referred(payment.account_id, now)
    if aggregate and aggregate.subscription.status == "incomplete":
        aggregate.subscription.status = "active"


def record_insufficient_capture(
    payment: Payment, invoice: Invoice, now: datetime, aggregate: SubscriptionAggregate | None
) -> None:
    """Book a partial capture for a start or change that takes effect only if it is paid in full.

    It does not take effect; what came is account credit.
    """
    amount = payment.amount_minor
    record_decline(invoice, PARTIALLY_CAPTURED, now, aggregate)
    ledger.post_journal("payment", invoice, now, payment.id, cash=amount, customer_credit=-amount)
    balances.pay_open_invoices_from_credit(invoice.account_id, invoice.currency, now)


def record_late_success(payment: Payment, invoice: Invoice, outcome: Outcome, now: datetime) -> None:
    """Book the success of a payment already marked as failed, as account credit, which pays the invoice if open."""
    payment.status, payment.decline_code, payment.settled_at = "succeeded", None, now
    payment.provider_reference = outcome.reference or payment.provider_reference
    amount = payment.amount_minor
    ledger.post_journal("payment", invoice, now, payment.id, cash=amount, customer_credit=-amount)
    balances.pay_open_invoices_from_credit(invoice.account_id, invoice.currency, now)


def record_decline(
    invoice: Invoice, decline_code: str | None, now: datetime, aggregate: SubscriptionAggregate | None
) -> None:
    """Apply a declined payment to its invoice and subscription.

    A first invoice is voided and its subscription canceled; an unpaid change is reverted; a gift is not bought.
    Anything else enters dunning: the next attempt is scheduled and the customer notified.
    """
    if invoice.status == "uncollectible":  # only the customer pays these, manually
        return
    if aggregate is None and invoice.issued_at is None:  # a gift, which is bought only if it is paid
        voiding.book_void(invoice, now)
        return
    if decline_code == debts.AMOUNT_TOO_SMALL:  # in the currency into which the provider converts it
        issuing.issue_invoice(invoice, now)
        if aggregate and aggregate.subscription.status == "incomplete":
            aggregate.subscription.status = "active"
        return
    if aggregate and aggregate.subscription.status == "incomplete":
        voiding.cancel_unpaid_start(aggregate, "payment_failed")
        return
    if aggregate and invoice.issued_at is None:
        voiding.revert_change(invoice, aggregate)
        return
    today = aggregate.today if aggregate else debts.billing_day(invoice, now)
    invoice.attempts += 1
    invoice.first_failed_on = invoice.first_failed_on or today
    invoice.next_attempt_on = debts.compute_next_attempt(invoice, today, decline_code)
    debts.enqueue_notices(invoice.account_id, now)
