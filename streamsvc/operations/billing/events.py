"""What the payment provider tells us unasked: kept once, then acted on by what is true now, in any order."""

from datetime import datetime

import sqlalchemy as sa

from streamsvc import jobs
from streamsvc.database import db, insert
from streamsvc.gateways.payments import provider
from streamsvc.models.subscriptions import Payment, ProviderEvent
from streamsvc.operations.billing import charging, disputes

JOB = "provider.event"
INTENTS = ("payment_intent.succeeded", "payment_intent.payment_failed", "payment_intent.canceled")
OPENED, CLOSED = "charge.dispute.created", "charge.dispute.closed"


def receive(body: bytes, signature: str | None, now: datetime) -> bool:
    """Keep a signed event and write its job, once for each id; False where the signature is wrong. Commits."""
    event = provider().event(body, signature)
    if event is None:
        return False
    about = event["data"]["object"]
    intent = about["id"] if about.get("object") == "payment_intent" else about.get("payment_intent")
    row = {"id": event["id"], "provider": "stripe", "kind": event["type"], "reference": intent, "received_at": now}
    db.session.execute(insert(ProviderEvent).values(row).on_conflict_do_nothing(index_elements=["id"]))
    facts = {"event_id": event["id"], "won": about.get("status") == "won"}
    facts["payment_id"] = (about.get("metadata") or {}).get("payment_id")
    jobs.enqueue(JOB, facts, now, f"event {event['id']}")
    db.session.commit()
    return True


@jobs.handler(JOB)
def act(payload: dict, now: datetime) -> None:
    """Bring the payment that an event is about up to date with the provider."""
    event = db.session.get(ProviderEvent, payload["event_id"])
    if event.done_at:
        return
    payment = _payment(event, payload)
    kind, reference = event.kind, event.reference
    db.session.commit()
    if payment and kind in INTENTS:
        _settle(payment, provider().state(reference), now)
    elif payment and kind == OPENED and payment.status == "succeeded" and not _is_closed(reference):
        disputes.dispute(payment.id, now)
    elif payment and kind == CLOSED and payload["won"]:
        _won(payment, now)
    db.session.get(ProviderEvent, payload["event_id"]).done_at = now


def _payment(event: ProviderEvent, payload: dict) -> Payment | None:
    """By our own id in the metadata, else by the provider's reference; None where it is not ours."""
    if payload["payment_id"]:
        return db.session.get(Payment, payload["payment_id"])
    known = sa.select(Payment).where(Payment.provider_reference == event.reference)
    return db.session.scalar(known) if event.reference else None


def _is_closed(reference: str) -> bool:
    """Whether the end of this dispute came before its beginning."""
    closed = sa.select(ProviderEvent.id).where(ProviderEvent.reference == reference, ProviderEvent.kind == CLOSED)
    return db.session.scalar(closed.where(ProviderEvent.done_at.is_not(None)).limit(1)) is not None


def _settle(payment: Payment, outcome, now: datetime) -> None:
    if outcome.status != charging.UNKNOWN:
        charging.settle(payment.id, outcome, now)


def _won(payment: Payment, now: datetime) -> None:
    if payment.status == "succeeded":  # closed before we heard that it was opened: nothing was taken back
        disputes.dispute(payment.id, now)
    db.session.refresh(payment)
    if payment.status == "disputed":
        disputes.dispute_won(payment.id, now)
