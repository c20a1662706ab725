"""Refunds as the provider knows them: ours are completed, those made at the provider itself are booked, once each."""

from datetime import datetime

import sqlalchemy as sa

from streamsvc.gateways.payments.interface import DECLINED, SUCCEEDED, Outcome, ProviderRefund
from streamsvc.models.subscriptions import CreditNote, Invoice, Payment, Refund
from streamsvc.operations.billing.core import gift_purchases
from streamsvc.operations.billing.core.aggregate import update_live_subscription
from streamsvc.operations.billing.invoices import corrections, credit_notes, refunds
from streamsvc.rules.billing.inputs import CreditNoteInput
from streamsvc.storage.database import db, reload_row

REASON = "Refunded at the payment provider"


def record_provider_refund(payment_id: str, reported: ProviderRefund, now: datetime) -> None:
    """Book the current state of a refund at the provider. Idempotent. Commits.

    A refund that we do not know was made at the provider, for instance in its dashboard.
    """
    account, invoice = corrections.lock_invoice(db.session.get_one(Payment, payment_id).invoice_id)
    payment = reload_row(Payment, payment_id)
    refund = _find_refund(payment_id, reported)
    if refund is None:
        if reported.status == SUCCEEDED:
            _book_foreign_refund(payment, invoice, reported, now)
            update_live_subscription(account, now)
    elif reported.status == DECLINED:
        refunds.record_refund_failure(refund.id, now)
    elif reported.status == SUCCEEDED and refund.status in ("pending", "unknown"):
        refunds.complete_refund(refund.id, Outcome(SUCCEEDED, reported.reference), now)
    db.session.commit()


def _find_refund(payment_id: str, reported: ProviderRefund) -> Refund | None:
    statement = sa.select(Refund).where(
        Refund.payment_id == payment_id,
        sa.or_(Refund.id == reported.refund_id, Refund.provider_reference == reported.reference),
    )
    return db.session.scalar(statement)


def _book_foreign_refund(payment: Payment, invoice: Invoice, reported: ProviderRefund, now: datetime) -> None:
    """Book a refund made at the provider, with a credit note over what can still be credited.

    Without one, as for what was credited before, the amount is owed again, and account credit pays it. A gift that was
    not redeemed is credited as a whole: its code is revoked, and what was not refunded becomes account credit.
    """
    amount_minor = min(reported.amount_minor, payment.refundable_minor)
    is_paid = payment.status in ("succeeded", "disputed")
    if not is_paid or reported.currency != payment.currency or amount_minor <= 0:
        return
    note = _create_credit_note(invoice, amount_minor, now)
    refund = refunds.record_refund(payment, amount_minor, note, REASON, now)
    refund.status, refund.provider_reference = "succeeded", reported.reference
    refunds.book_refund(refund, invoice, now)


def _create_credit_note(invoice: Invoice, amount_minor: int, now: datetime) -> CreditNote | None:
    if invoice.number is None or invoice.status == "void":
        return None
    creditable_minor = credit_notes.creditable_amount(invoice)
    is_whole = gift_purchases.has_usable_code(invoice)
    credited_minor = creditable_minor if is_whole else min(amount_minor, creditable_minor)
    if credited_minor <= 0:
        return None
    body: CreditNoteInput = {"lines": None, "amount_minor": credited_minor, "refund": True, "reason": REASON}
    return credit_notes.create_credit_note(invoice, body, now, credit_surplus=False)
