"""POST /v1/webhooks/stripe."""

from flask import current_app, request

from streamsvc import clock
from streamsvc.http.edge import Blueprint
from streamsvc.operations.billing.payments.provider_events import receive_provider_event
from streamsvc.rules.refusals.billing import SignatureInvalid
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.security.authentication import public

bp = Blueprint("webhooks", __name__, url_prefix="/v1/webhooks", description="What payment providers tell us.")


@bp.route("/stripe", methods=["POST"])
@public
@bp.response(204)
def stripe():
    """Keep a signed event of Stripe's; it is acted on by the worker, once, in whatever order it came."""
    if current_app.extensions["settings"].payment_provider != "stripe":
        raise NotFound
    if not receive_provider_event(request.get_data(), request.headers.get("Stripe-Signature"), clock.now()):
        raise SignatureInvalid
