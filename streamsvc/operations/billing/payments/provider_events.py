"""Webhook events from the payment provider: stored once, then processed by the current state, in any order."""

from datetime import datetime, timedelta

import sqlalchemy as sa

from streamsvc.gateways.payments import current_event_provider
from streamsvc.gateways.payments.interface import UNKNOWN, ProviderUnavailable
from streamsvc.models import Account
from streamsvc.models.subscriptions import Payment, PaymentMethod, ProviderEvent, Refund
from streamsvc.operations.billing.core import charging, customers
from streamsvc.operations.billing.invoices import disputes, provider_refunds
from streamsvc.operations.billing.payments import methods, setups
from streamsvc.storage.database import db, insert, lock_row, reload_row
from streamsvc.worker import jobs

PROVIDER_EVENT_JOB = "provider.event"
INTENT_EVENTS = (
    "payment_intent.succeeded",
    "payment_intent.payment_failed",
    "payment_intent.canceled",
    "payment_intent.processing",
)
REFUND_EVENTS = ("refund.created", "refund.updated", "refund.failed", "charge.refunded", "charge.refund.updated")
METHOD_EVENTS = ("payment_method.automatically_updated", "payment_method.updated", "payment_method.detached")
CUSTOMER_DELETED = "customer.deleted"
DISPUTE_OPENED_EVENTS = ("charge.dispute.created", "charge.dispute.updated", "charge.dispute.funds_withdrawn")
DISPUTE_CLOSED, DISPUTE_FUNDS_REINSTATED = "charge.dispute.closed", "charge.dispute.funds_reinstated"
DISPUTE_EVENTS = (*DISPUTE_OPENED_EVENTS, DISPUTE_CLOSED, DISPUTE_FUNDS_REINSTATED)
SETUP_SUCCEEDED = "setup_intent.succeeded"
INQUIRY_STATUS_PREFIX = "warning_"
"""Statuses with this prefix belong to inquiries: disputes that move no money."""
OBJECTS_WITH_REFERENCE = ("payment_intent", "dispute", "payment_method", "customer", "setup_intent")
RETRY_AFTER = timedelta(minutes=1)
"""How long to wait for a provider that is unavailable."""


def receive_provider_event(body: bytes, signature: str | None, now: datetime) -> bool:
    """Store a signed event and enqueue its job, once per event id. Commits. Returns False if the signature is invalid.

    `body`: the raw request body.
    """
    event = current_event_provider().parse_event(body, signature)
    if event is None:
        return False
    event_object = event["data"]["object"]
    has_own_reference = event_object.get("object") in OBJECTS_WITH_REFERENCE
    reference = event_object["id"] if has_own_reference else event_object.get("payment_intent")
    row = {"id": event["id"], "provider": "stripe", "kind": event["type"], "reference": reference, "received_at": now}
    db.session.execute(insert(ProviderEvent).values(row).on_conflict_do_nothing(index_elements=["id"]))
    intent_id, metadata = event_object.get("payment_intent"), event_object.get("metadata") or {}
    payload = {"event_id": event["id"], "status": event_object.get("status"), "intent": intent_id or reference}
    payload |= {name: metadata.get(name) for name in ("payment_id", "refund_id")}
    payload |= {name: event_object.get(name) for name in ("amount", "currency")}
    previous = event["data"].get("previous_attributes") or {}
    payload["customer"] = event_object.get("customer") or previous.get("customer")  # detached: it has none any more
    jobs.enqueue_job(PROVIDER_EVENT_JOB, payload, now, f"event {event['id']}")
    db.session.commit()
    return True


@jobs.job_handler(PROVIDER_EVENT_JOB, jobs.INTERACTIVE_LANE)
def handle_provider_event(payload: dict, now: datetime) -> None:
    """Update what an event refers to from the provider's current state. Raises Retry while it is unavailable."""
    event = db.session.get_one(ProviderEvent, payload["event_id"])
    if event.done_at:
        return
    kind, reference = event.kind, event.reference
    payment = _find_payment(payload)
    payment_id, status = payment.id if payment else None, payload["status"] or ""
    db.session.commit()
    try:
        if payment_id and kind in INTENT_EVENTS:
            _update_payment(payment_id, payload["intent"], now)
        elif payment_id and kind in REFUND_EVENTS:
            _update_refunds(payment_id, payload["intent"], now)
        elif payment_id and kind in DISPUTE_EVENTS and not status.startswith(INQUIRY_STATUS_PREFIX):
            _update_dispute(db.session.get_one(Payment, payment_id), kind, payload, reference, now)
        elif kind in METHOD_EVENTS:
            _update_method(f"{payload['customer']}/{reference}", now)
        elif kind == SETUP_SUCCEEDED and reference:
            setups.complete_reported_setup(reference, now)
        elif kind == CUSTOMER_DELETED and reference:
            customers.record_customer_deleted(reference, now)
    except ProviderUnavailable:
        raise jobs.Retry(now + RETRY_AFTER) from None
    db.session.get_one(ProviderEvent, payload["event_id"]).done_at = now


def _find_payment(payload: dict) -> Payment | None:
    """Find the payment by our ids in the metadata, else by the provider's reference; None if it is not ours."""
    if payload["payment_id"]:
        return db.session.get(Payment, payload["payment_id"])
    if payload["refund_id"] and (refund := db.session.get(Refund, payload["refund_id"])):
        return refund.payment
    statement = sa.select(Payment).where(Payment.provider_reference == payload["intent"])
    return db.session.scalar(statement) if payload["intent"] else None


def _update_payment(payment_id: str, intent: str, now: datetime) -> None:
    """Book the current state of a payment's charge. Raises ProviderUnavailable."""
    outcome = current_event_provider().retrieve_outcome(intent)
    if outcome.status != UNKNOWN:
        charging.complete_payment(payment_id, outcome, now)
    elif outcome.reference is None:  # no response, as opposed to a charge that is still being processed
        raise ProviderUnavailable


def _update_refunds(payment_id: str, intent: str, now: datetime) -> None:
    """Book the current state of all refunds of a payment, and first of the payment itself."""
    payment = db.session.get_one(Payment, payment_id)
    is_booked, reference = payment.status in ("succeeded", "disputed"), payment.provider_reference or intent
    db.session.commit()
    if not is_booked:
        _update_payment(payment_id, reference, now)
    for refund in reversed(current_event_provider().list_refunds(reference)):  # oldest first
        provider_refunds.record_provider_refund(payment_id, refund, now)


def _update_method(reference: str, now: datetime) -> None:
    """Update a card that its bank replaced, or remove a method that was detached at the provider."""
    method = db.session.scalar(
        sa.select(PaymentMethod).where(PaymentMethod.reference == reference, PaymentMethod.removed_at.is_(None))
    )
    if method is None:
        return
    method_id, account_id = method.id, method.account_id
    db.session.commit()
    card = current_event_provider().retrieve_method(reference)
    lock_row(Account, account_id)
    method = reload_row(PaymentMethod, method_id)
    if card is None:
        methods.record_method_detached(method, now)
    elif card.reference == reference:
        methods.update_card_details(method, card, now)


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
