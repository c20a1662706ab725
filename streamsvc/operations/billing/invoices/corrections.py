"""Corrections to issued invoices, which are never edited: voids and write-offs."""

from datetime import datetime

from streamsvc.models import Account
from streamsvc.models.subscriptions import Invoice
from streamsvc.operations.billing.core import balances, computing, voiding
from streamsvc.operations.billing.core.aggregate import update_live_subscription
from streamsvc.operations.billing.core.credit import apply_new_credit
from streamsvc.rules.refusals.billing import PaymentInProgress, WrongState
from streamsvc.storage.database import db, lock_existing_row, reload_row


def lock_invoice(invoice_id: str) -> tuple[Account, Invoice]:
    """Return the invoice's account and the invoice, under the account's lock."""
    account = lock_existing_row(Account, db.session.get_one(Invoice, invoice_id).account_id)
    return account, reload_row(Invoice, invoice_id)


def write_off_invoice(invoice_id: str, now: datetime) -> Invoice:
    """Write off what is owed on an open invoice after applying account credit.

    Its subscription continues, and is no longer past due unless another invoice is overdue. Raises WrongState,
    PaymentInProgress.
    """
    account, invoice = lock_invoice(invoice_id)
    if invoice.status != "open" or invoice.issued_at is None or invoice.balance_minor <= 0:
        raise WrongState(detail="Only an issued, open invoice with a positive balance can be written off.")
    if any(payment.is_in_flight for payment in invoice.payments):
        raise PaymentInProgress
    balances.pay_open_invoices_from_credit(invoice.account_id, invoice.currency, now)
    balances.mark_uncollectible(invoice, now)
    update_live_subscription(account, now)
    return invoice


def void_invoice(invoice_id: str, now: datetime) -> Invoice:
    """Void a draft or an open invoice. Raises WrongState if any of it was paid, credited, or is being paid."""
    account, invoice = lock_invoice(invoice_id)
    is_in_flight = any(payment.is_in_flight for payment in invoice.payments)
    is_credited = any(computing.credited_amounts(line.id)[0] for line in invoice.lines)
    if invoice.status not in ("draft", "open") or invoice.amount_paid_minor or is_credited or is_in_flight:
        raise WrongState(detail="Only a draft or open invoice with no payments or credits can be voided.")
    voiding.book_void(invoice, now)
    invoice.finalizes_at = None
    apply_new_credit(account, invoice.currency, now)
    return invoice
