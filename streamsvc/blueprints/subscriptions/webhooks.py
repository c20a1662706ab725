"""Webhooks from payment providers."""

from flask import request

from streamsvc import clock
from streamsvc.http.edge import Blueprint
from streamsvc.operations.billing.payments.provider_events import receive_provider_event
from streamsvc.rules.refusals.billing import SignatureInvalid
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.security.authentication import public
from streamsvc.settings import current_settings

bp = Blueprint("webhooks", __name__, url_prefix="/v1/webhooks", description="Webhooks from payment providers.")


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
