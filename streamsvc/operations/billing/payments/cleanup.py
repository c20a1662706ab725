"""Removals at the provider, as retried jobs: abandoned charges are canceled, removed payment methods are detached."""

from datetime import datetime

from streamsvc.gateways.payments import current_provider
from streamsvc.gateways.payments.interface import SUCCEEDED, UNKNOWN, ProviderUnavailable
from streamsvc.models.subscriptions import Payment, PaymentMethod
from streamsvc.operations.billing.core import charging, voiding
from streamsvc.operations.billing.core.customers import RETRY_AFTER
from streamsvc.storage.database import db
from streamsvc.worker import jobs

DETACH_JOB = "payment_method.detach"


def enqueue_detachment(method: PaymentMethod, now: datetime) -> None:
    """Enqueue the detachment of a removed method at the provider."""
    jobs.enqueue_job(DETACH_JOB, {"method_id": method.id}, now, f"detach {method.id}")


@jobs.job_handler(DETACH_JOB)
def detach_method(payload: dict, now: datetime) -> None:
    """Detach a removed method at the provider. Raises Retry while it is unavailable."""
    method = db.session.get_one(PaymentMethod, payload["method_id"])
    provider, reference = current_provider(), method.reference
    is_elsewhere = method.provider != provider.name
    db.session.commit()
    if is_elsewhere:
        return
    try:
        provider.detach(reference)
    except ProviderUnavailable:
        raise jobs.Retry(now + RETRY_AFTER) from None


@jobs.job_handler(voiding.CANCEL_JOB)
def cancel_abandoned_charge(payload: dict, now: datetime) -> None:
    """Cancel an abandoned payment at the provider. If the payer completed it before, its success is booked.

    Raises Retry while the provider is unavailable.
    """
    payment = db.session.get_one(Payment, payload["payment_id"])
    provider, reference = current_provider(), payment.provider_reference
    is_done = payment.status != "failed" or payment.provider != provider.name or reference is None
    db.session.commit()
    if is_done or reference is None:
        return
    outcome = provider.cancel_charge(reference)
    if outcome.status == SUCCEEDED:
        charging.complete_payment(payload["payment_id"], outcome, now)
    elif outcome.status == UNKNOWN:
        raise jobs.Retry(now + RETRY_AFTER)
