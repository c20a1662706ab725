"""Due payments: records a payment for each invoice that is due, and writes off what is not collected."""

from datetime import datetime

from streamsvc.models import Account
from streamsvc.models.subscriptions import Invoice, Payment, PaymentMethod
from streamsvc.operations.billing.core import (
    balances,
    carryover,
    charging,
    debts,
    issuing,
    method_selection,
    payment_limits,
    payment_outcomes,
)
from streamsvc.operations.billing.core.aggregate import SubscriptionAggregate
from streamsvc.rules.billing.calendar import civil_day


def write_off_small_debts(account: Account, now: datetime) -> None:
    """Write off what is too small to charge and was not covered by another payment in time."""
    today = civil_day(now, account.time_zone)
    for invoice in debts.list_collectable(Invoice.list_open(account.id)):
        if debts.is_small(invoice) and debts.small_write_off_day(invoice) <= today:
            balances.mark_uncollectible(invoice, now)


def write_off_debts(account_id: str, now: datetime) -> None:
    """Write off what the account owes after applying its credit, skipping invoices with a payment in flight."""
    for invoice in debts.list_collectable(Invoice.list_open(account_id)):
        if debts.is_of_transferred_subscription(invoice):
            continue
        balances.pay_open_invoices_from_credit(account_id, invoice.currency, now)
        balances.mark_uncollectible(invoice, now)


def create_due_payments(
    aggregate: SubscriptionAggregate, on_session: bool = False, method: PaymentMethod | None = None
) -> list[Payment]:
    """Record a payment for each of the subscription's open invoices that is due for collection.

    The caller commits and sends them. With `method`, every open invoice is charged to it, whether its next attempt is
    due or not. Unless the customer is waiting for a change of theirs, everything else that the account owes is
    collected with it. Balances below the provider's minimum are carried over: they are charged with the next payment
    that reaches it. Records none while the subscription is on billing hold.
    """
    if aggregate.subscription.billing_held_at:
        return []
    own: list[Invoice] = []
    others: list[Invoice] = []
    for invoice in Invoice.list_open(aggregate.account.id):
        (own if invoice.subscription_id == aggregate.subscription.id else others).append(invoice)
    payments = _create_payments(own, aggregate.now, on_session, method, aggregate)
    if method or not on_session:
        payments += create_debt_payments(others, aggregate.now, method)
    return payments


def create_debt_payments(invoices: list[Invoice], now: datetime, method: PaymentMethod | None = None) -> list[Payment]:
    """Record a payment for each of these open invoices that is due, or for all of them with `method`.

    They belong to no subscription or to one that has ended. The caller commits and sends the payments.
    """
    return _create_payments(debts.list_collectable(invoices), now, method is not None, method, None)


def _create_payments(
    invoices: list[Invoice],
    now: datetime,
    on_session: bool,
    method: PaymentMethod | None,
    aggregate: SubscriptionAggregate | None,
) -> list[Payment]:
    payments: list[Payment] = []
    for account_id, currency in {(row.account_id, row.currency): None for row in invoices if row.attempts}:
        # credit may have been granted while the last attempt was in flight
        balances.pay_open_invoices_from_credit(account_id, currency, now)
    due = [invoice for invoice in invoices if method or _is_due(invoice, aggregate, now)]
    for invoice in carryover.select_chargeable([invoice for invoice in due if _is_chargeable(invoice)]):
        if charge_method := method or method_selection.select_retry_method(invoice):
            payments.append(charging.create_payment(invoice, charge_method, now, on_session))
        else:
            payment_outcomes.record_decline(invoice, payment_limits.PAYMENT_METHOD_REQUIRED, now, aggregate)
    for invoice in invoices:
        carry_over_if_small(invoice, now, aggregate)
    return payments


def _is_due(invoice: Invoice, aggregate: SubscriptionAggregate | None, now: datetime) -> bool:
    return debts.is_due(invoice, aggregate.today if aggregate else debts.billing_day(invoice, now))


def _is_chargeable(invoice: Invoice) -> bool:
    return invoice.status == "open" and not any(payment.is_in_flight for payment in invoice.payments)


def carry_over_if_small(invoice: Invoice, now: datetime, aggregate: SubscriptionAggregate | None) -> None:
    """Issue an invoice whose balance is too small to charge; what it pays for takes effect without a payment."""
    if not carryover.is_carried_over(invoice):
        return
    issuing.issue_invoice(invoice, now)
    invoice.first_failed_on = invoice.next_attempt_on = None  # nothing is overdue that cannot be paid
    if aggregate and aggregate.subscription.status == "incomplete":
        aggregate.subscription.status = "active"
