"""Chargebacks: the payer's bank takes the money back, and sometimes gives it to us again."""

from datetime import datetime

from streamsvc.models.subscriptions import Invoice, Payment
from streamsvc.operations.billing.core import issuing, ledger
from streamsvc.operations.billing.core.aggregate import stand
from streamsvc.operations.billing.invoices.corrections import locked
from streamsvc.rules.refusals.billing import WrongState
from streamsvc.storage.database import db


def dispute(payment_id: str, now: datetime, asked_minor: int | None = None) -> Payment:
    """The payer's bank took the money back: the invoice is owed again, and only the payer can mend it.

    `asked_minor`: how much of it; never more than we have left of it. Raises WrongState.
    """
    _, invoice = locked(db.session.get(Payment, payment_id).invoice_id)
    payment = db.session.get(Payment, payment_id, populate_existing=True)
    amount = min(payment.left_minor, payment.left_minor if asked_minor is None else asked_minor)
    if payment.status != "succeeded" or not amount:
        raise WrongState(detail="Only a payment that succeeded, and of which something is left, can be disputed.")
    ledger.post("dispute", invoice, now, payment.id, cash=-amount, receivable=amount)
    payment.status, payment.disputed_minor = "disputed", amount
    invoice.amount_paid_minor -= amount
    invoice.balance_minor += amount
    if invoice.status == "paid":
        at = invoice.subscription_id and stand(invoice.subscription_id, now)
        invoice.status, invoice.attempts = "open", max(1, invoice.attempts)
        invoice.first_failed_on = invoice.first_failed_on or (at.today if at else now.date())
        issuing.spend_credit(invoice.account_id, invoice.currency, now)
    elif invoice.status != "open":  # given up before, or void when the money came: nobody is asked for it
        issuing.write_off(invoice, now)
    return _shown(payment, invoice, now)


def dispute_won(payment_id: str, now: datetime) -> Payment:
    """The bank gave the money back to us."""
    _, invoice = locked(db.session.get(Payment, payment_id).invoice_id)
    payment = db.session.get(Payment, payment_id, populate_existing=True)
    if payment.status != "disputed":
        raise WrongState(detail="This payment is not disputed.")
    amount = payment.disputed_minor
    ledger.post("dispute_won", invoice, now, payment.id, cash=amount, receivable=-amount)
    payment.status, payment.disputed_minor = "succeeded", 0
    invoice.amount_paid_minor += amount
    invoice.balance_minor -= amount
    issuing.surplus_to_credit(invoice, now)  # where the loss was booked, it did not come about
    issuing.settle_if_paid(invoice)
    return _shown(payment, invoice, now)


def _shown(payment: Payment, invoice: Invoice, now: datetime) -> Payment:
    db.session.flush()
    if invoice.subscription_id:
        stand(invoice.subscription_id, now).show()
    db.session.commit()
    return payment
