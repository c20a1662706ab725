"""Guests: people who browse without an account."""

from flask import Response

from streamsvc import clock
from streamsvc.blueprints.sessions.cookies import token_in_cookie_on_request
from streamsvc.blueprints.sessions.documents import sign_in_response
from streamsvc.http import idempotency
from streamsvc.http.edge import Blueprint
from streamsvc.http.idempotency import idempotent
from streamsvc.http.request_facts import current_request_facts
from streamsvc.operations.accounts import guests
from streamsvc.operations.credentials.attempts import hit_address_limit
from streamsvc.rules import rate_limits as limits
from streamsvc.rules.refusals.access import EndUserAddressInvalid
from streamsvc.rules.refusals.accounts import TooManyAttempts
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.rules.sign_in.sessions import SESSION_TOKEN_PREFIX
from streamsvc.schemas.sessions.accounts import NewGuest
from streamsvc.schemas.sessions.sessions import SignedIn
from streamsvc.security.access import public
from streamsvc.settings import current_settings

bp = Blueprint("guests", __name__, url_prefix="/v1/guests", description="Browse without an account.")
UNNAMED_DEVICE = {"name": "Unnamed device", "kind": "other"}


@bp.route("", methods=["POST"])
@bp.arguments(NewGuest)
@public
@token_in_cookie_on_request
@idempotent()
@bp.errors(EndUserAddressInvalid, NotFound, TooManyAttempts)
@bp.response(201, SignedIn)
def create_guest(body: dict) -> Response:
    """Start a guest session.

    A guest browses and searches, and has a watchlist, ratings and progress; everything else is 403 `sign_up_required`.
    Send the guest's token in `X-Guest-Token` when the guest signs up or signs in: what was saved moves into the
    account. A guest sees no unrated titles and none above the service's age limit for guests. 404 if the service has no
    guests.
    """
    settings, facts = current_settings(), current_request_facts()
    if not settings.guests:
        raise NotFound
    hit_address_limit(limits.GUEST_ADDRESS, facts)
    new_guest = guests.NewGuest(body["country"], body["time_zone"], body["locale"], body["device"] or UNNAMED_DEVICE)
    token = SESSION_TOKEN_PREFIX + idempotency.generate_secret()
    guests.create_guest(new_guest, token, facts, clock.now())
    return sign_in_response(token, body["cookie"])
