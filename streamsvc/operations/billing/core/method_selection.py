"""Which payment method an invoice is charged to."""

from streamsvc.models.subscriptions import Invoice, PaymentMethod, Subscription
from streamsvc.storage.database import db


def select_retry_method(invoice: Invoice) -> PaymentMethod | None:
    """Return the payment method to charge an invoice to without the customer; None if there is none.

    A card whose owner disputed a payment of the invoice is not charged for it again: the card networks forbid that.
    """
    method = select_invoice_method(invoice)
    disputed = [payment.method for payment in invoice.payments if payment.method and payment.status == "disputed"]
    return None if method and any(method.is_same_card(card) for card in disputed) else method


def select_invoice_method(invoice: Invoice) -> PaymentMethod | None:
    """Return the payment method to charge an invoice to: the subscription's own, else the account's default."""
    preferred_id = None
    if invoice.subscription_id:
        preferred_id = db.session.get_one(Subscription, invoice.subscription_id).payment_method_id
    return select_account_method(invoice.account_id, preferred_id)


def select_account_method(account_id: str, preferred_id: str | None) -> PaymentMethod | None:
    """Return the method with this id if it has not been removed, else the account's default; None if there is none."""
    methods = PaymentMethod.list_active(account_id)
    by_preference = sorted(methods, key=lambda method: (method.id == preferred_id, method.is_default), reverse=True)
    best = by_preference[0] if by_preference else None
    return best if best and (best.id == preferred_id or best.is_default) else None
