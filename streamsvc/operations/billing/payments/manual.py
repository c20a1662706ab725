"""A payer pays an open invoice by hand."""

from datetime import datetime

from streamsvc.http import idempotency
from streamsvc.models import Account
from streamsvc.models.subscriptions import Invoice, Payment
from streamsvc.operations.billing.core import charging, issuing
from streamsvc.operations.billing.subscriptions.subscribe import chosen_method, tell
from streamsvc.rules.refusals.billing import InvoiceNotOpen, PaymentFailed, PaymentInProgress
from streamsvc.storage.database import db, lock


def pay(invoice_id: str, method_id: str | None, now: datetime) -> Payment:
    """Charge what is owed on the invoice, or was given up. Commits.

    Raises InvoiceNotOpen, PaymentInProgress, Invalid, PaymentFailed, AuthenticationRequired.
    """
    if begun := idempotency.begun():
        return told(charging.resume(begun["payment"]))
    account = lock(Account, db.session.get(Invoice, invoice_id).account_id)
    invoice = db.session.get(Invoice, invoice_id, populate_existing=True)
    lost = issuing.lost_on(invoice) if invoice.status == "uncollectible" else 0
    if invoice.status != "open" and not lost:
        raise InvoiceNotOpen
    waiting = [one for one in invoice.payments if one.is_in_flight]
    if any(one.status != "requires_action" for one in waiting):
        raise PaymentInProgress
    method = chosen_method(account, method_id) if method_id else charging.method_for(invoice)
    if method is None:
        raise PaymentFailed(decline_code=charging.NO_METHOD)
    for one in waiting:  # a new try replaces the one that waits for its payer
        one.status, one.decline_code, one.settled_at = "failed", "abandoned", now
    db.session.flush()
    payment = charging.record(invoice, method, now, on_session=True, lost_minor=lost)
    idempotency.begin(payment=payment.id)
    db.session.commit()
    return told(charging.send(payment.id))


def told(payment: Payment) -> Payment:
    """The payment, if it went well. Raises what the payer has to hear."""
    tell(payment)
    return payment
