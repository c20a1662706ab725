"""A payer pays an open invoice by hand."""

from datetime import datetime

from streamsvc.http import idempotency
from streamsvc.models import Account
from streamsvc.models.subscriptions import Invoice, Payment
from streamsvc.operations.billing.core import charging, issuing
from streamsvc.operations.billing.subscriptions.subscribe import get_requested_method, raise_if_not_paid
from streamsvc.rules.refusals.billing import InvoiceNotOpen, PaymentFailed, PaymentInProgress
from streamsvc.storage.database import db, lock_row


def pay_open_invoice(invoice_id: str, method_id: str | None, now: datetime) -> Payment:
    """Charge what is owed on the invoice, or was given up. Commits.

    Raises InvoiceNotOpen, PaymentInProgress, Invalid, PaymentFailed, AuthenticationRequired.
    """
    if begun := idempotency.load_checkpoint():
        return require_paid(charging.resume_payment(begun["payment"]))
    account = lock_row(Account, db.session.get(Invoice, invoice_id).account_id)
    invoice = db.session.get(Invoice, invoice_id, populate_existing=True)
    lost = issuing.written_off_amount(invoice) if invoice.status == "uncollectible" else 0
    if invoice.status != "open" and not lost:
        raise InvoiceNotOpen
    waiting = [one for one in invoice.payments if one.is_in_flight]
    if any(one.status != "requires_action" for one in waiting):
        raise PaymentInProgress
    method = get_requested_method(account, method_id) if method_id else charging.select_invoice_method(invoice)
    if method is None:
        raise PaymentFailed(decline_code=charging.PAYMENT_METHOD_REQUIRED)
    for one in waiting:  # a new try replaces the one that waits for its payer
        one.status, one.decline_code, one.settled_at = "failed", "abandoned", now
    db.session.flush()
    payment = charging.create_payment(invoice, method, now, on_session=True, written_off_minor=lost)
    idempotency.save_checkpoint(payment=payment.id)
    db.session.commit()
    return require_paid(charging.send_payment(payment.id))


def require_paid(payment: Payment) -> Payment:
    """The payment, if it went well. Raises what the payer has to hear."""
    raise_if_not_paid(payment)
    return payment
