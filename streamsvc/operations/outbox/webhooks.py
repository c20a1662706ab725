"""Events and webhooks: recorded in the transaction of what they report, sent by the worker, retried for three days."""

import json
import random
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from streamsvc import clock
from streamsvc.gateways import webhooks as gateway
from streamsvc.gateways.peers import CallNotMade
from streamsvc.models import WebhookDelivery, WebhookEndpoint, WebhookEvent
from streamsvc.rules import webhooks as rules
from streamsvc.security import encryption
from streamsvc.storage.database import batching_session, db, format_utc, new_id
from streamsvc.worker import jobs

DELIVERY_JOB = "webhook.deliver"
MAX_REDELIVERIES = 200
"""Deliveries that one call redelivers: each writes two rows."""


def publish_event(kind: str, account_id: str | None, now: datetime, /, **data: Any) -> None:
    """Record an event and enqueue its deliveries to subscribed endpoints, in the caller's transaction."""
    batching_session().collect(_record_events, _event_row(kind, account_id, now, data))


def record_undelivered_event(kind: str, account_id: str | None, now: datetime, /, **data: Any) -> None:
    """Record an event that is only listed, in the caller's transaction."""
    batching_session().insert_rows(WebhookEvent, [_event_row(kind, account_id, now, data)])


def _event_row(kind: str, account_id: str | None, now: datetime, data: dict[str, Any]) -> dict[str, Any]:
    return {"id": new_id("evt"), "kind": kind, "account_id": account_id, "data": data, "at": now}


def _record_events(events: list[dict]) -> None:
    batching_session().insert_rows(WebhookEvent, events)
    live = WebhookEndpoint.disabled_at.is_(None), WebhookEndpoint.removed_at.is_(None)
    endpoints = db.session.execute(sa.select(WebhookEndpoint.id, WebhookEndpoint.kinds).where(*live)).all()
    for event in events:
        for endpoint_id, kinds in endpoints:
            if rules.is_subscribed(kinds, event["kind"]):
                _enqueue_delivery(endpoint_id, event["id"], event["at"])


def _enqueue_delivery(endpoint_id: str, event_id: str, now: datetime) -> str:
    """Enqueue a delivery; returns its id."""
    delivery = {"id": new_id("whd"), "endpoint_id": endpoint_id, "event_id": event_id}
    batching_session().insert_rows(WebhookDelivery, [delivery | {"created_at": now, "next_at": now}])
    jobs.enqueue_job(DELIVERY_JOB, {"delivery_id": delivery["id"]}, now)
    return delivery["id"]


def redeliver_event(delivery: WebhookDelivery, now: datetime) -> WebhookDelivery:
    """Enqueue another delivery of the same event; the event keeps its id."""
    return db.session.get_one(WebhookDelivery, _enqueue_delivery(delivery.endpoint_id, delivery.event_id, now))


def select_given_up(endpoint_id: str | None) -> sa.Select[Any]:
    """Return the statement that selects deliveries that were given up and not redelivered since, to live endpoints.

    `endpoint_id`: only those of one endpoint.
    """
    later = aliased(WebhookDelivery)
    is_same = (later.event_id == WebhookDelivery.event_id, later.endpoint_id == WebhookDelivery.endpoint_id)
    is_live = (WebhookEndpoint.disabled_at.is_(None), WebhookEndpoint.removed_at.is_(None))
    statement = (
        sa.select(WebhookDelivery)
        .join(WebhookEndpoint, WebhookEndpoint.id == WebhookDelivery.endpoint_id)
        .where(sa.text("webhook_deliveries.status = 'failed'"), *is_live)
        .where(~sa.exists().where(*is_same, later.id > WebhookDelivery.id))
    )
    return statement.where(WebhookDelivery.endpoint_id == endpoint_id) if endpoint_id else statement


def count_given_up(endpoint_id: str | None) -> int:
    return db.session.scalar(select_given_up(endpoint_id).with_only_columns(sa.func.count())) or 0


def redeliver_given_up(endpoint_id: str | None, now: datetime) -> int:
    """Redeliver the oldest deliveries that were given up, up to `MAX_REDELIVERIES`; returns how many.

    In the caller's transaction.
    """
    oldest = select_given_up(endpoint_id).order_by(WebhookDelivery.id).limit(MAX_REDELIVERIES)
    deliveries = db.session.scalars(oldest).all()
    for delivery in deliveries:
        _enqueue_delivery(delivery.endpoint_id, delivery.event_id, now)
    return len(deliveries)


def create_endpoint(url: str, kinds: list | None, secret: str, now: datetime) -> WebhookEndpoint:
    """Create a webhook endpoint for events of these kinds; None: all but those of playback.

    `secret` is `whsec_` and 24 to 64 bytes in base64.
    """
    endpoint = WebhookEndpoint(id=new_id("whe"), url=url, kinds=kinds, created_at=now)
    endpoint.secret_encrypted = encryption.encrypt(secret)
    db.session.add(endpoint)
    db.session.flush()
    return endpoint


def rotate_secret(endpoint: WebhookEndpoint, secret: str, now: datetime) -> None:
    """Replace the secret. For a day, messages are signed with the old secret as well."""
    endpoint.old_secret_encrypted = endpoint.secret_encrypted
    endpoint.old_secret_until = now + rules.SECRET_ROTATION_PERIOD
    endpoint.secret_encrypted = encryption.encrypt(secret)


@jobs.job_handler(DELIVERY_JOB, jobs.WEBHOOK_LANE)
def send_delivery(payload: dict, now: datetime) -> None:
    """Send one delivery, outside any transaction, and record the outcome; nothing if it was erased with its account."""
    delivery = db.session.get(WebhookDelivery, payload["delivery_id"])
    if delivery is None:
        return
    endpoint = db.session.get_one(WebhookEndpoint, delivery.endpoint_id)
    event = db.session.get_one(WebhookEvent, delivery.event_id)
    if delivery.status != "pending" or endpoint.removed_at or endpoint.disabled_at:
        return
    endpoint_id, url, (body, headers) = endpoint.id, endpoint.url, build_delivery(endpoint, event, now)
    db.session.commit()
    try:
        response = gateway.post_webhook(endpoint_id, url, body, headers)
    except CallNotMade as error:  # no attempt; they return spread over time
        raise jobs.Retry(now + timedelta(seconds=error.retry_after_s * random.uniform(1, 2))) from None
    if sent := db.session.get(WebhookDelivery, payload["delivery_id"]):
        complete_delivery(sent, response, now)


def build_delivery(endpoint: WebhookEndpoint, event: WebhookEvent, now: datetime) -> tuple[bytes, dict[str, str]]:
    """Build the body and the signed headers of a delivery.

    The timestamp is the wall clock's, even in the sandbox, since receivers reject old signatures.
    """
    payload = {
        "type": event.kind,
        "timestamp": format_utc(event.at),
        "data": {"account_id": event.account_id, **event.data},
    }
    body = json.dumps(payload, separators=(",", ":")).encode()
    keys = [encryption.decrypt(endpoint.secret_encrypted)]
    if endpoint.old_secret_encrypted and endpoint.old_secret_until and endpoint.old_secret_until > now:
        keys.append(encryption.decrypt(endpoint.old_secret_encrypted))
    timestamp = int(clock.wall_time().timestamp())
    return body, {
        "Content-Type": "application/json",
        "User-Agent": "streamsvc",
        "webhook-id": event.id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": rules.sign_message(keys, event.id, timestamp, body),
    }


def complete_delivery(delivery: WebhookDelivery, response: gateway.WebhookResponse, now: datetime) -> None:
    """Record the outcome of an attempt and schedule the next one, if any. Status 410 disables the endpoint."""
    delivery.attempts += 1
    delivery.response_status, delivery.error, delivery.next_at = response.status, response.error, None
    if response.status and 200 <= response.status < 300:
        delivery.status, delivery.delivered_at = "delivered", now
        return
    if response.status == rules.GONE:
        db.session.get_one(WebhookEndpoint, delivery.endpoint_id).disabled_at = now
        delivery.status = "failed"
        return
    delivery.next_at = rules.next_attempt_at(delivery.attempts, now, response.retry_after_s)
    if delivery.next_at is None:
        delivery.status = "failed"
    else:
        jobs.enqueue_job(DELIVERY_JOB, {"delivery_id": delivery.id}, delivery.next_at)
