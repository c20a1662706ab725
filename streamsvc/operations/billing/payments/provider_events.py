"""What the payment provider tells us unasked: kept once, then acted on by what is true now, in any order."""

from datetime import datetime

import sqlalchemy as sa

from streamsvc.gateways.payments import provider
from streamsvc.models.subscriptions import Payment, ProviderEvent
from streamsvc.operations.billing.core import charging
from streamsvc.operations.billing.invoices import corrections, disputes
from streamsvc.storage.database import db, insert
from streamsvc.worker import jobs

PROVIDER_EVENT_JOB = "provider.event"
INTENT_EVENTS = ("payment_intent.succeeded", "payment_intent.payment_failed", "payment_intent.canceled")
DISPUTE_OPENED_EVENTS = ("charge.dispute.created", "charge.dispute.funds_withdrawn")
DISPUTE_CLOSED, DISPUTE_FUNDS_REINSTATED = "charge.dispute.closed", "charge.dispute.funds_reinstated"
REFUND_FAILED = "refund.failed"
INQUIRY_STATUS_PREFIX = "warning_"
"""So begins the status of a dispute by which no money is moved."""


def receive_provider_event(body: bytes, signature: str | None, now: datetime) -> bool:
    """Keep a signed event and write its job, once for each id; False where the signature is wrong. Commits."""
    event = provider().event(body, signature)
    if event is None:
        return False
    about = event["data"]["object"]
    own = about.get("object") in ("payment_intent", "dispute")
    reference = about["id"] if own else about.get("payment_intent")
    row = {"id": event["id"], "provider": "stripe", "kind": event["type"], "reference": reference, "received_at": now}
    db.session.execute(insert(ProviderEvent).values(row).on_conflict_do_nothing(index_elements=["id"]))
    intent, metadata = about.get("payment_intent"), about.get("metadata") or {}
    facts = {"event_id": event["id"], "status": about.get("status"), "intent": intent or reference}
    facts |= {name: metadata.get(name) for name in ("payment_id", "refund_id")}
    facts |= {name: about.get(name) for name in ("amount", "currency")}
    jobs.enqueue_job(PROVIDER_EVENT_JOB, facts, now, f"event {event['id']}")
    db.session.commit()
    return True


@jobs.job_handler(PROVIDER_EVENT_JOB)
def handle_provider_event(payload: dict, now: datetime) -> None:
    """Bring the payment that an event is about up to date with the provider."""
    event = db.session.get(ProviderEvent, payload["event_id"])
    if event.done_at:
        return
    payment, status = _find_payment(payload), payload["status"] or ""
    kind, reference = event.kind, event.reference
    db.session.commit()
    if kind == REFUND_FAILED and payload["refund_id"]:
        corrections.record_refund_failure(payload["refund_id"], now)
    elif payment and kind in INTENT_EVENTS:
        _complete_payment(payment, provider().state(payload["intent"]), now)
    elif (
        payment
        and kind in (*DISPUTE_OPENED_EVENTS, DISPUTE_CLOSED, DISPUTE_FUNDS_REINSTATED)
        and not status.startswith(INQUIRY_STATUS_PREFIX)
    ):
        _update_dispute(payment, kind, payload, reference, now)
    db.session.get(ProviderEvent, payload["event_id"]).done_at = now


def _find_payment(payload: dict) -> Payment | None:
    """By our own id in the metadata, else by the provider's reference; None where it is not ours."""
    if payload["payment_id"]:
        return db.session.get(Payment, payload["payment_id"])
    known = sa.select(Payment).where(Payment.provider_reference == payload["intent"])
    return db.session.scalar(known) if payload["intent"] else None


def _complete_payment(payment: Payment, outcome, now: datetime) -> None:
    if outcome.status != charging.UNKNOWN:
        charging.complete_payment(payment.id, outcome, now)


def _update_dispute(payment: Payment, kind: str, payload: dict, reference: str, now: datetime) -> None:
    """Take the money off the books, or put it back. The end may be told before the beginning."""
    won = kind == DISPUTE_FUNDS_REINSTATED or payload["status"] == "won"
    is_new = kind != DISPUTE_FUNDS_REINSTATED and not (kind in DISPUTE_OPENED_EVENTS and _is_dispute_closed(reference))
    if is_new and payment.status == "succeeded" and payment.left_minor:
        payment = disputes.record_dispute(payment.id, now, _disputed_amount(payment, payload))
    if payment.status == "disputed" and won and kind not in DISPUTE_OPENED_EVENTS:
        disputes.record_dispute_won(payment.id, now)


def _disputed_amount(payment: Payment, payload: dict) -> int | None:
    """How much of the payment is disputed; None where that is not told in its currency: then all of it."""
    same = (payload.get("currency") or "").upper() == payment.currency
    return payload.get("amount") if same else None


def _is_dispute_closed(reference: str) -> bool:
    """Whether the end of this dispute came before its beginning."""
    closed = sa.select(ProviderEvent.id).where(
        ProviderEvent.reference == reference, ProviderEvent.kind == DISPUTE_CLOSED
    )
    return db.session.scalar(closed.where(ProviderEvent.done_at.is_not(None)).limit(1)) is not None
