"""Outgoing webhooks: endpoints, deliveries, events."""

from typing import Any

import sqlalchemy as sa

from streamsvc import clock
from streamsvc.blueprints.admin.audited_resources import WEBHOOK_DELIVERY, WEBHOOK_ENDPOINT, WEBHOOK_REDELIVERIES
from streamsvc.http import idempotency
from streamsvc.http.edge import Blueprint
from streamsvc.http.idempotency import idempotent
from streamsvc.http.pagination import paginate_query
from streamsvc.models import WebhookDelivery, WebhookEndpoint, WebhookEvent
from streamsvc.operations.outbox import webhooks
from streamsvc.operations.outbox.audited_changes import audited, created_id
from streamsvc.rules.inputs import DeliveriesInput, EventsInput, PageInput
from streamsvc.rules.refusals.requests import Invalid, NotFound
from streamsvc.rules.webhooks import SECRET_PREFIX
from streamsvc.schemas.admin.webhooks import (
    EventOut,
    EventQuery,
    NewWebhookEndpointOut,
    NewWebhookRedelivery,
    WebhookDeliveryOut,
    WebhookDeliveryQuery,
    WebhookEndpointIn,
    WebhookEndpointOut,
    WebhookRedelivery,
)
from streamsvc.schemas.base import PageQuery, page_of
from streamsvc.security.access import operator_only
from streamsvc.settings import current_settings
from streamsvc.storage.database import db

bp = Blueprint(
    "admin webhooks", __name__, url_prefix="/v1/admin", description="Outgoing webhooks and the events they deliver."
)


@bp.route("/webhook-endpoints")
@bp.arguments(PageQuery, location="query")
@operator_only("admin")
@bp.response(200, page_of(WebhookEndpointOut))
def list_webhook_endpoints(query: PageInput) -> dict:
    """List webhook endpoints, newest first."""
    endpoints = sa.select(WebhookEndpoint).where(WebhookEndpoint.removed_at.is_(None))
    return paginate_query(endpoints, WebhookEndpoint.id, query, "webhook endpoints")


@bp.route("/webhook-endpoints", methods=["POST"])
@bp.arguments(WebhookEndpointIn)
@operator_only("admin")
@idempotent()
@bp.response(201, NewWebhookEndpointOut)
@audited(WEBHOOK_ENDPOINT, created_id)
def create_webhook_endpoint(body: dict) -> dict:
    """Create a webhook endpoint.

    It receives events from now on: those of the given `kinds`, or all but `playback.*`, which must be named. The
    signing secret is returned only once.
    """
    if body["url"].startswith("http://") and not current_settings().webhooks_to_private:
        raise Invalid(errors={"url": ["Must be a URL that starts with https://."]})
    secret = SECRET_PREFIX + idempotency.generate_secret(idempotency.SIGNING_KEY)
    endpoint = webhooks.create_endpoint(body["url"], body["kinds"], secret, clock.now())
    return endpoint_view_with_secret(endpoint, secret)


@bp.route("/webhook-endpoints/<endpoint_id>", methods=["DELETE"])
@operator_only("admin")
@bp.response(204)
@audited(WEBHOOK_ENDPOINT, "endpoint_id")
def delete_webhook_endpoint(endpoint_id: str) -> None:
    """Delete a webhook endpoint.

    It receives no further events.
    """
    require_endpoint(endpoint_id).removed_at = clock.now()
    db.session.commit()


@bp.route("/webhook-endpoints/<endpoint_id>/secret", methods=["POST"])
@operator_only("admin")
@idempotent()
@bp.response(200, NewWebhookEndpointOut)
@audited(WEBHOOK_ENDPOINT, "endpoint_id")
def rotate_webhook_secret(endpoint_id: str) -> dict:
    """Rotate the signing secret of a webhook endpoint.

    For 24 hours deliveries are signed with both secrets.
    """
    endpoint = require_endpoint(endpoint_id)
    secret = SECRET_PREFIX + idempotency.generate_secret(idempotency.SIGNING_KEY)
    webhooks.rotate_secret(endpoint, secret, clock.now())
    return endpoint_view_with_secret(endpoint, secret)


@bp.route("/webhook-deliveries")
@bp.arguments(WebhookDeliveryQuery, location="query")
@operator_only("admin")
@bp.response(200, page_of(WebhookDeliveryOut))
def list_webhook_deliveries(query: DeliveriesInput) -> dict:
    """List webhook deliveries, newest first.

    `endpoint_id` lists those of one endpoint, `status=failed` those that were given up after the last attempt.
    """
    deliveries = sa.select(WebhookDelivery)
    if query["endpoint_id"]:
        deliveries = deliveries.where(WebhookDelivery.endpoint_id == query["endpoint_id"])
    if query["status"]:
        deliveries = deliveries.where(WebhookDelivery.status == sa.literal_column(f"'{query['status']}'"))
    return paginate_query(deliveries, WebhookDelivery.id, query, "webhook deliveries")


@bp.route("/webhook-deliveries/<delivery_id>/redelivery", methods=["POST"])
@operator_only("admin")
@idempotent()
@bp.response(201, WebhookDeliveryOut)
@audited(WEBHOOK_DELIVERY, created_id)
def redeliver_webhook(delivery_id: str) -> WebhookDelivery:
    """Redeliver a webhook event.

    The delivery keeps the event's id, so that receivers can deduplicate.
    """
    delivery = db.session.get(WebhookDelivery, delivery_id)
    if delivery is None:
        raise NotFound
    return webhooks.redeliver_event(delivery, clock.now())


@bp.route("/webhook-redeliveries", methods=["POST"])
@bp.arguments(NewWebhookRedelivery)
@operator_only("admin")
@idempotent()
@bp.response(201, WebhookRedelivery)
@bp.alt_response(200, schema=WebhookRedelivery(), description="With `dry_run`: how many would be redelivered.")
@audited(WEBHOOK_REDELIVERIES, None)
def create_webhook_redelivery(body: dict) -> Any:
    """Redeliver all webhook deliveries that were given up.

    Of those that no later delivery of the same event to the same endpoint has replaced. A request redelivers the
    oldest 200; repeat it while there are `remaining` ones. `dry_run` only counts.
    """
    endpoint_id = body["endpoint_id"]
    matching = webhooks.count_given_up(endpoint_id)
    if body["dry_run"]:
        count = min(matching, webhooks.MAX_REDELIVERIES)
        return {"deliveries": count, "remaining": matching - count, "dry_run": True}, 200
    count = webhooks.redeliver_given_up(endpoint_id, clock.now())
    return {"deliveries": count, "remaining": max(0, matching - count), "dry_run": False}


@bp.route("/events")
@bp.arguments(EventQuery, location="query")
@operator_only("support")
@bp.response(200, page_of(EventOut))
def list_events(query: EventsInput) -> dict:
    """List events, newest first.

    Filter by `account_id` or `kind`.
    """
    events = sa.select(WebhookEvent)
    if query["account_id"]:
        events = events.where(WebhookEvent.account_id == query["account_id"])
    if query["kind"]:
        events = events.where(WebhookEvent.kind == query["kind"])
    return paginate_query(events, WebhookEvent.id, query, "events")


def endpoint_view_with_secret(endpoint: WebhookEndpoint, secret: str) -> dict:
    """Return the JSON of `NewWebhookEndpointOut`."""
    names = ("id", "url", "kinds", "created_at", "disabled_at")
    return {name: getattr(endpoint, name) for name in names} | {"secret": secret}


def require_endpoint(endpoint_id: str) -> WebhookEndpoint:
    """Raise NotFound if there is none or it was deleted."""
    endpoint = db.session.get(WebhookEndpoint, endpoint_id)
    if endpoint is None or endpoint.removed_at:
        raise NotFound
    return endpoint
