"""Voiding: what was not paid is undone, such as invoices, starts, changes, and payments that await their payer."""

from datetime import datetime

import sqlalchemy as sa

from streamsvc.models.subscriptions import Coupon, Discount, Invoice, InvoiceLine, Payment
from streamsvc.operations.billing.core import ledger
from streamsvc.operations.billing.core.aggregate import SubscriptionAggregate, caused_by, list_waiting_invoices
from streamsvc.rules.billing import facts as fact
from streamsvc.rules.billing.paid import starts_new_period
from streamsvc.rules.refusals.billing import PaymentInProgress
from streamsvc.storage.database import db
from streamsvc.worker import jobs

CANCEL_JOB = "payment.cancel"


def abandon_payment(payment: Payment, now: datetime) -> None:
    """Mark a payment that awaits its payer as abandoned, and enqueue its cancellation at the provider.

    The cancellation keeps the payer from completing it later.
    """
    payment.status, payment.decline_code, payment.settled_at = "failed", "abandoned", now
    enqueue_cancellation(payment, now)


def enqueue_cancellation(payment: Payment, now: datetime) -> None:
    """Enqueue the cancellation at the provider of a payment that its payer could still complete."""
    jobs.enqueue_job(CANCEL_JOB, {"payment_id": payment.id}, now, f"cancel {payment.id}")


def cancel_unpaid_start(aggregate: SubscriptionAggregate, reason: str) -> None:
    """Cancel a subscription whose first payment failed: void its invoices and release its coupons and credit."""
    now = aggregate.now
    for invoice in Invoice.list_open(aggregate.account.id):
        if invoice.subscription_id == aggregate.subscription.id:
            book_void(invoice, now)
    for discount in aggregate.list_discounts():
        Coupon.return_redemption(discount.coupon_id)
        discount.ended_at = now
    aggregate.subscription.status = "canceled"
    aggregate.subscription.cancel_reason = reason
    aggregate.subscription.canceled_at = now


def list_unpaid_changes(aggregate: SubscriptionAggregate) -> list[Invoice]:
    """List the invoices of changes that are not yet paid for.

    Raises PaymentInProgress if a payment for one is in flight at the provider: its outcome decides whether the change
    happened, and must be known before anything else is done.
    """
    waiting = list_waiting_invoices(aggregate.subscription)
    if any(
        payment.is_in_flight and payment.status != "requires_action"
        for invoice in waiting
        for payment in invoice.payments
    ):
        raise PaymentInProgress
    return waiting


def revert_unpaid_changes(aggregate: SubscriptionAggregate) -> None:
    """Revert changes that still wait for the customer's authentication. Raises PaymentInProgress."""
    for invoice in list_unpaid_changes(aggregate):
        for payment in [payment for payment in invoice.payments if payment.is_in_flight]:
            abandon_payment(payment, aggregate.now)
        revert_change(invoice, aggregate)


def revert_change(invoice: Invoice, aggregate: SubscriptionAggregate) -> None:
    """Revert a change that was not paid for: void its invoice and revert its events."""
    book_void(invoice, aggregate.now)
    for ref in sorted(caused_by(invoice)):
        aggregate.record_event(fact.Reverted, ref)


def book_void(invoice: Invoice, now: datetime) -> None:
    """Void the invoice and return the account credit and coupon amounts that it used."""
    total_minor = invoice.total_minor
    ledger.post_journal(
        "void", invoice, now, receivable=-total_minor, revenue=total_minor - invoice.tax_minor, tax=invoice.tax_minor
    )
    if invoice.credit_applied_minor:
        credit_minor = invoice.credit_applied_minor
        ledger.post_journal("credit_returned", invoice, now, receivable=credit_minor, customer_credit=-credit_minor)
    invoice.status, invoice.balance_minor = "void", 0
    invoice.first_failed_on = invoice.next_attempt_on = None
    for line in invoice.lines:
        if line.kind == "discount" and line.coupon_id:
            restore_discount(invoice, line)


def restore_discount(invoice: Invoice, line: InvoiceLine) -> None:
    """Return to its discount the use that a void invoice made of it."""
    conditions = sa.and_(Discount.subscription_id == invoice.subscription_id, Discount.coupon_id == line.coupon_id)
    discount = db.session.scalars(sa.select(Discount).where(conditions)).one()
    renews = starts_new_period(
        (invoice_line.kind, invoice_line.item, invoice_line.cause, invoice_line.period_end)
        for invoice_line in invoice.lines
    )
    discount.used_minor += line.amount_minor
    is_counted = renews or discount.counted_by == invoice.id or discount.coupon.duration == "once"
    discount.periods_used -= is_counted
    if discount.counted_by == invoice.id:
        discount.counted_period = discount.counted_by = None
    discount.ended_at = discount.removed_at
