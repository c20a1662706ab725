"""Sign-in by mail, without a password."""

from streamsvc import clock
from streamsvc.blueprints.sessions.cookies import binding_for, binding_of, bound, device_of, token_as_cookie_if_asked
from streamsvc.blueprints.sessions.documents import signed_in
from streamsvc.http import idempotency
from streamsvc.http.edge import Blueprint
from streamsvc.http.idempotency import idempotent
from streamsvc.operations.credentials import second_factor, trusted_devices
from streamsvc.operations.credentials.attempts import hit_address_limit
from streamsvc.operations.sign_in import magic_links, password
from streamsvc.rules import rate_limits as limits
from streamsvc.rules.sign_in.sessions import SESSION_TOKEN_PREFIX
from streamsvc.schemas.sessions.magic_links import MagicLinkAsked, MagicLinkSignIn, NewMagicLink
from streamsvc.schemas.sessions.sessions import SignedIn
from streamsvc.security.authentication import public
from streamsvc.storage.database import db

bp = Blueprint("magic links", __name__, url_prefix="/v1", description="Sign-in by mail.")


@bp.route("/magic-links", methods=["POST"])
@bp.arguments(NewMagicLink)
@public
@bp.response(202, MagicLinkAsked)
def create_magic_link(given):
    """Ask for a link by mail. It opens only where it was asked for; the answer tells nothing about the address."""
    binding = binding_for(given["cookie"])
    magic_links.enqueue_magic_link(given["email"], binding, clock.now())
    db.session.commit()
    return bound({"status": "accepted"}, binding, given["cookie"], 202)


@bp.route("/sessions/magic-link", methods=["POST"])
@bp.arguments(MagicLinkSignIn)
@public
@token_as_cookie_if_asked
@idempotent()
@bp.response(201, SignedIn)
def create_session(given):
    """Sign in with a mailed link, in the browser that asked for it. A second factor is asked for as ever."""
    hit_address_limit(limits.SECRET_BY_ADDRESS)
    now, (device, given["device_trust"]) = clock.now(), device_of(given)
    account_id = magic_links.get_magic_link_account_id(given["token"], binding_of(given), now)
    second = second_factor.require_authenticator_code(
        password.load_sign_in_account(account_id, device and device.get("id")), given, now
    )
    magic_links.consume_magic_link(given["token"], now)
    token = SESSION_TOKEN_PREFIX + idempotency.generate_secret()
    proof = {"method": "magic_link", "second_factor": second}
    session = password.create_session(account_id, device, given["remember"], token, now, notify=True, **proof)
    trust = trusted_devices.trust_device_if_requested(session, given["trust_device"], second, now)
    return signed_in(token, given["cookie"], trust)
