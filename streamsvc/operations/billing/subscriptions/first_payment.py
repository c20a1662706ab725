"""How a start or a purchase is paid: the payment method that it names, and what its first payment came to."""

import sqlalchemy as sa

from streamsvc.models import Account
from streamsvc.models.subscriptions import Invoice, Payment, PaymentMethod, Subscription
from streamsvc.operations.billing.core import payment_outcomes
from streamsvc.rules.billing.trials import may_start_trial
from streamsvc.rules.refusals.billing import AuthenticationRequired, PaymentFailed, PaymentMethodRequired
from streamsvc.rules.refusals.requests import Invalid
from streamsvc.settings import current_settings
from streamsvc.storage.database import db, reload_row


def get_requested_method(account: Account, method_id: str | None) -> PaymentMethod | None:
    """Return the account's payment method with this id, or its default if `method_id` is None. Raises Invalid."""
    if method_id is None:
        return PaymentMethod.find_default(account.id)
    method = next((method for method in PaymentMethod.list_active(account.id) if method.id == method_id), None)
    if method is None:
        raise Invalid(errors={"payment_method_id": ["No such payment method."]})
    return method


def require_card_for_trial(method: PaymentMethod | None) -> None:
    """Raise PaymentMethodRequired if a trial needs a card that is set up and `method` is none."""
    is_set_up = method is not None and method.set_up_at is not None
    if not may_start_trial(current_settings().trial_without_card, is_set_up):
        raise PaymentMethodRequired


def require_started(subscription_id: str) -> Subscription:
    """Return the subscription if its start was paid for. Raises PaymentFailed, AuthenticationRequired."""
    subscription = reload_row(Subscription, subscription_id)
    if subscription.status == "canceled" or subscription.status == "incomplete":
        raise_if_not_paid(find_last_payment(subscription_id))
    return subscription


def find_last_payment(subscription_id: str) -> Payment | None:
    """Find the subscription's most recent payment."""
    return db.session.scalar(
        sa.select(Payment)
        .join(Invoice, Invoice.id == Payment.invoice_id)
        .where(Invoice.subscription_id == subscription_id)
        .order_by(Payment.id.desc())
        .limit(1)
    )


def raise_if_not_paid(payment: Payment | None) -> None:
    """Raise PaymentFailed or AuthenticationRequired if the payment failed or awaits authentication.

    A part of what was asked for does not pay for a start or a change, whose invoice is then void.
    """
    if payment and payment.requested_minor and db.session.get_one(Invoice, payment.invoice_id).status == "void":
        raise PaymentFailed(decline_code=payment_outcomes.PARTIALLY_CAPTURED)
    if payment and payment.status == "failed":
        raise PaymentFailed(decline_code=payment.decline_code)
    if payment and payment.status == "requires_action":
        raise AuthenticationRequired(
            next_action=payment.next_action, payment_id=payment.id, invoice_id=payment.invoice_id
        )
