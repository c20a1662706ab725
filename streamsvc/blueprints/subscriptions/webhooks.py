"""Webhooks from payment providers and app stores."""

from flask import request

from streamsvc import clock
from streamsvc.http.edge import Blueprint
from streamsvc.operations.billing.payments.provider_events import receive_provider_event
from streamsvc.operations.billing.stores import notifications
from streamsvc.rules.refusals.billing import SignatureInvalid
from streamsvc.rules.refusals.requests import NotFound, Unavailable
from streamsvc.schemas.subscriptions.stores import AppStoreNotificationIn, PlayStoreNotificationIn
from streamsvc.security.access import public
from streamsvc.settings import current_settings

bp = Blueprint(
    "webhooks", __name__, url_prefix="/v1/webhooks", description="Webhooks from payment providers and app stores."
)


@bp.route("/stripe", methods=["POST"])
@public
@bp.errors(NotFound, SignatureInvalid)
@bp.response(204)
def receive_stripe_event() -> None:
    """Receive a Stripe event.

    Stores an event with a valid signature; the worker processes it once, in whatever order events arrive.
    """
    if current_settings().payment_provider != "stripe":
        raise NotFound
    if not receive_provider_event(request.get_data(), request.headers.get("Stripe-Signature"), clock.now()):
        raise SignatureInvalid


@bp.route("/app-store", methods=["POST"])
@public
@bp.arguments(AppStoreNotificationIn)
@bp.errors(NotFound, SignatureInvalid, Unavailable)
@bp.response(204)
def receive_app_store_notification(body: dict) -> None:
    """Receive an App Store Server Notification, version 2.

    Stores a notification that Apple has signed for this app, once; the worker then fetches the subscription's state.
    """
    notifications.receive_app_store_notification(body["signedPayload"], clock.now())


@bp.route("/play-store", methods=["POST"])
@public
@bp.arguments(PlayStoreNotificationIn)
@bp.errors(NotFound, SignatureInvalid, Unavailable)
@bp.response(204)
def receive_play_store_notification(body: dict) -> None:
    """Receive a real-time developer notification of Google Play, pushed by Pub/Sub.

    Stores a notification whose token is of our push subscription, once; the worker then fetches the state.
    """
    notifications.receive_play_store_notification(request.headers.get("Authorization"), body, clock.now())
