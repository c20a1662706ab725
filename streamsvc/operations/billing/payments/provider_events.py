"""Webhook events from the payment provider: stored once, then processed by the current state, in any order."""

from datetime import datetime

import sqlalchemy as sa

from streamsvc.gateways.payments import current_event_provider
from streamsvc.gateways.payments.interface import Outcome
from streamsvc.models.subscriptions import Payment, ProviderEvent
from streamsvc.operations.billing.core import charging
from streamsvc.operations.billing.invoices import corrections, disputes
from streamsvc.operations.billing.payments import setups
from streamsvc.storage.database import db, insert
from streamsvc.worker import jobs

PROVIDER_EVENT_JOB = "provider.event"
INTENT_EVENTS = ("payment_intent.succeeded", "payment_intent.payment_failed", "payment_intent.canceled")
DISPUTE_OPENED_EVENTS = ("charge.dispute.created", "charge.dispute.funds_withdrawn")
DISPUTE_CLOSED, DISPUTE_FUNDS_REINSTATED = "charge.dispute.closed", "charge.dispute.funds_reinstated"
REFUND_FAILED = "refund.failed"
SETUP_SUCCEEDED = "setup_intent.succeeded"
INQUIRY_STATUS_PREFIX = "warning_"
"""Statuses with this prefix belong to inquiries: disputes that move no money."""


def receive_provider_event(body: bytes, signature: str | None, now: datetime) -> bool:
    """Store a signed event and enqueue its job, once per event id. Commits. Returns False if the signature is invalid.

    `body`: the raw request body.
    """
    event = current_event_provider().parse_event(body, signature)
    if event is None:
        return False
    event_object = event["data"]["object"]
    has_own_reference = event_object.get("object") in ("payment_intent", "dispute", "setup_intent")
    reference = event_object["id"] if has_own_reference else event_object.get("payment_intent")
    row = {"id": event["id"], "provider": "stripe", "kind": event["type"], "reference": reference, "received_at": now}
    db.session.execute(insert(ProviderEvent).values(row).on_conflict_do_nothing(index_elements=["id"]))
    intent_id, metadata = event_object.get("payment_intent"), event_object.get("metadata") or {}
    payload = {"event_id": event["id"], "status": event_object.get("status"), "intent": intent_id or reference}
    payload |= {name: metadata.get(name) for name in ("payment_id", "refund_id")}
    payload |= {name: event_object.get(name) for name in ("amount", "currency")}
    jobs.enqueue_job(PROVIDER_EVENT_JOB, payload, now, f"event {event['id']}")
    db.session.commit()
    return True


@jobs.job_handler(PROVIDER_EVENT_JOB)
def handle_provider_event(payload: dict, now: datetime) -> None:
    """Update the payment that an event refers to from the provider's current state."""
    event = db.session.get_one(ProviderEvent, payload["event_id"])
    if event.done_at:
        return
    payment, status = _find_payment(payload), payload["status"] or ""
    kind, reference = event.kind, event.reference
    db.session.commit()
    if kind == SETUP_SUCCEEDED and reference:
        setups.complete_reported_setup(reference, now)
    elif kind == REFUND_FAILED and payload["refund_id"]:
        corrections.record_refund_failure(payload["refund_id"], now)
    elif payment and kind in INTENT_EVENTS:
        _complete_payment(payment, current_event_provider().retrieve_outcome(payload["intent"]), now)
    elif (
        payment
        and kind in (*DISPUTE_OPENED_EVENTS, DISPUTE_CLOSED, DISPUTE_FUNDS_REINSTATED)
        and not status.startswith(INQUIRY_STATUS_PREFIX)
    ):
        _update_dispute(payment, kind, payload, reference, now)
    db.session.get_one(ProviderEvent, payload["event_id"]).done_at = now


def _find_payment(payload: dict) -> Payment | None:
    """Find the payment by our id in the metadata, else by the provider's reference; None if it is not ours."""
    if payload["payment_id"]:
        return db.session.get(Payment, payload["payment_id"])
    statement = sa.select(Payment).where(Payment.provider_reference == payload["intent"])
    return db.session.scalar(statement) if payload["intent"] else None


def _complete_payment(payment: Payment, outcome: Outcome, now: datetime) -> None:
    if outcome.status != charging.UNKNOWN:
        charging.complete_payment(payment.id, outcome, now)


def _update_dispute(payment: Payment, kind: str, payload: dict, reference: str | None, now: datetime) -> None:
    """Record the dispute of a payment or its being won. The closing event may arrive before the opening one."""
    is_won = kind == DISPUTE_FUNDS_REINSTATED or payload["status"] == "won"
    is_new = kind != DISPUTE_FUNDS_REINSTATED and not (kind in DISPUTE_OPENED_EVENTS and _is_dispute_closed(reference))
    if is_new and payment.status == "succeeded" and payment.refundable_minor:
        payment = disputes.record_dispute(payment.id, now, _disputed_amount(payment, payload))
    if payment.status == "disputed" and is_won and kind not in DISPUTE_OPENED_EVENTS:
        disputes.record_dispute_won(payment.id, now)


def _disputed_amount(payment: Payment, payload: dict) -> int | None:
    """Return the disputed amount; None, which means all of it, if it is not given in the payment's currency."""
    is_same_currency = (payload.get("currency") or "").upper() == payment.currency
    return payload.get("amount") if is_same_currency else None


def _is_dispute_closed(reference: str | None) -> bool:
    """Whether the closing event of this dispute has already been processed."""
    if reference is None:
        return False
    statement = sa.select(ProviderEvent.id).where(
        ProviderEvent.reference == reference, ProviderEvent.kind == DISPUTE_CLOSED
    )
    return db.session.scalar(statement.where(ProviderEvent.done_at.is_not(None)).limit(1)) is not None
