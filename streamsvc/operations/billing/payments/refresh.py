"""Refreshing a payment: the provider is asked now, so that nothing depends on a webhook alone."""

from datetime import datetime

from streamsvc.gateways.payments import current_provider
from streamsvc.gateways.payments.interface import UNKNOWN, EventProvider, Outcome
from streamsvc.models.subscriptions import Payment
from streamsvc.operations.billing.core import charging
from streamsvc.rules import rate_limits as limits
from streamsvc.rules.refusals.requests import Unavailable
from streamsvc.security import rate_limits
from streamsvc.storage.database import db


def refresh_payment(payment: Payment, now: datetime) -> Payment:
    """Ask the provider for the payment's outcome, book it, and return the payment. Commits.

    A payment that never arrived at the provider is sent again under its own idempotency key. Raises TooManyAttempts,
    and Unavailable if the provider does not say what happened.
    """
    account_id, payment_id = payment.account_id, payment.id
    db.session.commit()  # the count has a transaction of its own
    rate_limits.hit(limits.PAYMENT_REFRESHES, account_id)
    payment = db.session.get_one(Payment, payment_id)
    if not can_outcome_change(payment):
        return payment
    outcome = find_current_outcome(payment, now)
    if outcome is None:
        return charging.send_payment(payment_id)
    if outcome.status == UNKNOWN:
        raise Unavailable(detail="The payment provider does not say yet whether it was paid. Try again shortly.")
    return charging.complete_payment(payment_id, outcome, now)


def can_outcome_change(payment: Payment) -> bool:
    """Whether the provider may know more than we do: of a payment in flight, or of one that we gave up on."""
    if payment.provider != current_provider().name:
        return False
    return payment.is_in_flight or (payment.status == "failed" and payment.provider_reference is not None)


def find_current_outcome(payment: Payment, now: datetime) -> Outcome | None:
    """Find the payment at the provider by its reference, else by our id; None if it never arrived. Commits."""
    provider, reference = current_provider(), payment.provider_reference
    if reference is None or not isinstance(provider, EventProvider):
        return charging.find_outcome(payment, now)
    db.session.commit()
    return provider.retrieve_outcome(reference)
