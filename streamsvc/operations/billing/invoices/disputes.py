"""Chargebacks: the payer's bank takes the money back, and sometimes gives it to us again."""

from datetime import datetime

from streamsvc.models.subscriptions import Invoice, Payment
from streamsvc.operations.billing.core import issuing, ledger
from streamsvc.operations.billing.core.aggregate import load_locked
from streamsvc.operations.billing.invoices.corrections import lock_invoice
from streamsvc.rules.refusals.billing import WrongState
from streamsvc.storage.database import db


def record_dispute(payment_id: str, now: datetime, amount_minor: int | None = None) -> Payment:
    """The payer's bank took the money back: the invoice is owed again, and only the payer can mend it.

    `asked_minor`: how much of it; never more than we have left of it. Raises WrongState.
    """
    _, invoice = lock_invoice(db.session.get(Payment, payment_id).invoice_id)
    payment = db.session.get(Payment, payment_id, populate_existing=True)
    amount = min(payment.left_minor, payment.left_minor if amount_minor is None else amount_minor)
    if payment.status != "succeeded" or not amount:
        raise WrongState(detail="Only a payment that succeeded, and of which something is left, can be disputed.")
    ledger.post_journal("dispute", invoice, now, payment.id, cash=-amount, receivable=amount)
    payment.status, payment.disputed_minor = "disputed", amount
    invoice.amount_paid_minor -= amount
    invoice.balance_minor += amount
    if invoice.status == "paid":
        at = invoice.subscription_id and load_locked(invoice.subscription_id, now)
        invoice.status, invoice.attempts = "open", max(1, invoice.attempts)
        invoice.first_failed_on = invoice.first_failed_on or (at.today if at else now.date())
        issuing.pay_open_invoices_from_credit(invoice.account_id, invoice.currency, now)
    elif invoice.status != "open":  # given up before, or void when the money came: nobody is asked for it
        issuing.write_off_balance(invoice, now)
    return _commit_dispute(payment, invoice, now)


def record_dispute_won(payment_id: str, now: datetime) -> Payment:
    """The bank gave the money back to us."""
    _, invoice = lock_invoice(db.session.get(Payment, payment_id).invoice_id)
    payment = db.session.get(Payment, payment_id, populate_existing=True)
    if payment.status != "disputed":
        raise WrongState(detail="This payment is not disputed.")
    amount = payment.disputed_minor
    ledger.post_journal("dispute_won", invoice, now, payment.id, cash=amount, receivable=-amount)
    payment.status, payment.disputed_minor = "succeeded", 0
    invoice.amount_paid_minor += amount
    invoice.balance_minor -= amount
    issuing.credit_overpayment(invoice, now)  # where the loss was booked, it did not come about
    issuing.mark_paid_if_balance_is_zero(invoice)
    return _commit_dispute(payment, invoice, now)


def _commit_dispute(payment: Payment, invoice: Invoice, now: datetime) -> Payment:
    db.session.flush()
    if invoice.subscription_id:
        load_locked(invoice.subscription_id, now).save_projection()
    db.session.commit()
    return payment
