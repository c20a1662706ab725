"""Manual payments: a customer pays an open or uncollectible invoice."""

from datetime import datetime

from streamsvc.gateways.payments import minimum_charge_minor
from streamsvc.http import idempotency
from streamsvc.models import Account
from streamsvc.models.subscriptions import Invoice, Payment
from streamsvc.operations.billing.core import carryover, charging, issuing
from streamsvc.operations.billing.subscriptions.subscribe import get_requested_method, raise_if_not_paid
from streamsvc.rules.refusals.billing import AmountTooSmall, InvoiceNotOpen, PaymentFailed, PaymentInProgress
from streamsvc.storage.database import db, lock_existing_row


def pay_open_invoice(invoice_id: str, method_id: str | None, now: datetime) -> Payment:
    """Charge the invoice's balance, or the amount written off on it. Commits.

    Raises InvoiceNotOpen, AmountTooSmall, PaymentInProgress, Invalid, PaymentFailed, AuthenticationRequired.
    """
    if checkpoint := idempotency.load_checkpoint():
        return require_paid(charging.resume_payment(checkpoint["payment"]))
    charging.refresh_waiting_payments(db.session.get_one(Invoice, invoice_id).account_id, now)
    account = lock_existing_row(Account, db.session.get_one(Invoice, invoice_id).account_id)
    invoice = db.session.get_one(Invoice, invoice_id, populate_existing=True)
    written_off_minor = issuing.written_off_amount(invoice) if invoice.status == "uncollectible" else 0
    if invoice.status != "open" and not written_off_minor:
        raise InvoiceNotOpen
    amount_minor = invoice.balance_minor + written_off_minor + carryover.carried_amount(invoice)
    if amount_minor < minimum_charge_minor(invoice.currency):
        raise AmountTooSmall
    in_flight = [payment for payment in invoice.payments if payment.is_in_flight]
    if any(payment.status != "requires_action" for payment in in_flight):
        raise PaymentInProgress
    method = get_requested_method(account, method_id) if method_id else charging.select_invoice_method(invoice)
    if method is None:
        raise PaymentFailed(decline_code=charging.PAYMENT_METHOD_REQUIRED)
    for payment in in_flight:  # a new attempt replaces one that awaits authentication
        charging.abandon_payment(payment, now)
    db.session.flush()
    payment = charging.create_payment(invoice, method, now, on_session=True, written_off_minor=written_off_minor)
    idempotency.save_checkpoint(payment=payment.id)
    db.session.commit()
    return require_paid(charging.send_payment(payment.id))


def require_paid(payment: Payment) -> Payment:
    """Return the payment if it succeeded. Raises PaymentFailed, AuthenticationRequired."""
    raise_if_not_paid(payment)
    return payment
