"""A payer pays an open invoice by hand."""

from datetime import datetime

from streamsvc.database import db, lock
from streamsvc.models import Account
from streamsvc.models.subscriptions import Invoice, Payment
from streamsvc.operations.billing import charging
from streamsvc.operations.billing.subscribe import chosen_method, tell
from streamsvc.rules.refusals import InvoiceNotOpen, PaymentFailed, PaymentInProgress


def pay(invoice_id: str, method_id: str | None, now: datetime) -> Payment:
    """Charge what is owed on the invoice. Commits.

    Raises InvoiceNotOpen, PaymentInProgress, Invalid, PaymentFailed, AuthenticationRequired.
    """
    account = lock(Account, db.session.get(Invoice, invoice_id).account_id)
    invoice = db.session.get(Invoice, invoice_id, populate_existing=True)
    if invoice.status != "open":
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
    payment = charging.record(invoice, method, now, on_session=True)
    db.session.commit()
    payment = charging.send(payment.id)
    tell(payment)
    return payment
