"""Disputes (chargebacks): the payer's bank withdraws a payment and, if the dispute is won, reinstates it."""

from datetime import datetime

from streamsvc.models import Account
from streamsvc.models.subscriptions import Payment
from streamsvc.operations.billing.core import balances, gift_purchases, ledger, referrals
from streamsvc.operations.billing.core.aggregate import update_live_subscription
from streamsvc.operations.billing.invoices.corrections import lock_invoice
from streamsvc.operations.billing.invoices.credit_notes import create_credit_note
from streamsvc.rules.billing.inputs import CreditNoteInput
from streamsvc.rules.refusals.billing import WrongState
from streamsvc.storage.database import db, reload_row

GIFT_REASON = "The payment of the gift was disputed"


def record_dispute(payment_id: str, now: datetime, amount_minor: int | None = None) -> Payment:
    """Record a dispute: the payment's amount is owed on the invoice again, and dunned like any overdue invoice.

    A gift that was not redeemed is taken back instead: its code is revoked, and nothing is owed for it.
    `amount_minor`: the disputed amount, capped at what is left of the payment; None: all of it. Commits. Raises
    WrongState.
    """
    account, invoice = lock_invoice(db.session.get_one(Payment, payment_id).invoice_id)
    payment = reload_row(Payment, payment_id)
    disputed_minor = min(payment.refundable_minor, payment.refundable_minor if amount_minor is None else amount_minor)
    if payment.status != "succeeded" or not disputed_minor:
        raise WrongState(detail="Only a successful payment that is not fully refunded can be disputed.")
    ledger.post_journal("dispute", invoice, now, payment.id, cash=-disputed_minor, receivable=disputed_minor)
    payment.status, payment.disputed_minor = "disputed", disputed_minor
    invoice.amount_paid_minor -= disputed_minor
    invoice.balance_minor += disputed_minor
    if gift_purchases.revoke_code(invoice, "dispute", now):
        whole: CreditNoteInput = {"lines": None, "amount_minor": None, "refund": True, "reason": GIFT_REASON}
        create_credit_note(invoice, whole, now)
    balances.collect_reowed_amount(invoice, now)
    referrals.enqueue_revocation_if_rewarded(account.id, payment.id, now)
    return _commit_dispute(payment, account, now)


def record_dispute_won(payment_id: str, now: datetime) -> Payment:
    """Record that a dispute was won: the bank reinstated the money. Commits. Raises WrongState."""
    account, invoice = lock_invoice(db.session.get_one(Payment, payment_id).invoice_id)
    payment = reload_row(Payment, payment_id)
    if payment.status != "disputed":
        raise WrongState(detail="This payment is not disputed.")
    amount_minor = payment.disputed_minor
    ledger.post_journal("dispute_won", invoice, now, payment.id, cash=amount_minor, receivable=-amount_minor)
    payment.status, payment.disputed_minor = "succeeded", 0
    invoice.amount_paid_minor += amount_minor
    invoice.balance_minor -= amount_minor
    balances.credit_overpayment(invoice, now)  # reverses a write-off booked for the dispute
    balances.update_status(invoice, now)
    return _commit_dispute(payment, account, now)


def _commit_dispute(payment: Payment, account: Account, now: datetime) -> Payment:
    update_live_subscription(account, now)
    db.session.commit()
    return payment
