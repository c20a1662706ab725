"""Balances below the provider's minimum charge: carried over to the account's next payment in the same currency.

Such an invoice stays open without an attempt to charge it. The next payment is higher by its balance; when it succeeds,
the surplus becomes account credit, which pays the invoice. The same way, an amount that the provider cannot charge
exactly is rounded up: what is charged too much becomes account credit, which pays a part of the next invoice.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from streamsvc.gateways.payments import charge_step_minor, minimum_charge_minor
from streamsvc.models.subscriptions import Invoice
from streamsvc.operations.billing.core import balances, ledger
from streamsvc.operations.billing.core.debts import is_small
from streamsvc.rules.money import round_up


def is_carried_over(invoice: Invoice) -> bool:
    """Whether the invoice is open, too small to charge, and not part of a payment in flight for it."""
    return invoice.status == "open" and is_small(invoice) and not _has_payment_in_flight(invoice)


def select_chargeable(due_invoices: Sequence[Invoice]) -> list[Invoice]:
    """Return the due invoices to charge, each with a payment of its own.

    Small ones are left out: a payment for another one covers them. If together they reach the minimum, the newest is
    charged for all of them.
    """
    chargeable = [invoice for invoice in due_invoices if not is_small(invoice)]
    if chargeable or not due_invoices:
        return chargeable
    newest = due_invoices[-1]
    total_minor = newest.balance_minor + carried_amount(newest)
    return [newest] if total_minor >= minimum_charge_minor(newest.currency) else []


def chargeable_amount(invoice: Invoice, owed_minor: int) -> int:
    """Return what a payment for all that is owed on the invoice charges, with the amounts that are carried over."""
    amount_minor = owed_minor + carried_amount(invoice)
    return round_up(amount_minor, charge_step_minor(invoice.currency))


def carried_amount(invoice: Invoice) -> int:
    """Return what a payment for this invoice adds for other invoices of the account that are carried over.

    Zero while another payment of the account is in flight, which may cover them already.
    """
    others = [
        other
        for other in Invoice.list_open(invoice.account_id)
        if other.id != invoice.id and other.currency == invoice.currency
    ]
    if any(map(_has_payment_in_flight, others)):
        return 0
    return sum(other.balance_minor for other in others if is_small(other) and other.issued_at)


def pay_carried_over(invoice: Invoice, now: datetime) -> None:
    """Pay the account's carried-over invoices from its credit, oldest first, after a payment that covered them."""
    credit_minor = ledger.account_credit(invoice.account_id, invoice.currency)
    for other in _list_carried_over(invoice):
        if 0 < other.balance_minor <= credit_minor:
            credit_minor -= other.balance_minor
            balances.apply_account_credit(other, other.balance_minor, now)
            balances.update_status(other, now)


def _list_carried_over(invoice: Invoice) -> Iterable[Invoice]:
    return [
        other
        for other in Invoice.list_open(invoice.account_id)
        if other.id != invoice.id and other.currency == invoice.currency and is_carried_over(other)
    ]


def _has_payment_in_flight(invoice: Invoice) -> bool:
    return any(payment.is_in_flight for payment in invoice.payments)
