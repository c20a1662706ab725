"""Sign-in by emailed link, without a password."""

from flask import Response

from streamsvc import clock
from streamsvc.blueprints.sessions.cookies import (
    binding_cookie,
    current_prover,
    device_and_trust_token,
    get_or_create_binding,
    presented_binding,
    response_with_binding,
    token_in_cookie_on_request,
)
from streamsvc.blueprints.sessions.documents import sign_in_response
from streamsvc.http import idempotency
from streamsvc.http.edge import Blueprint
from streamsvc.http.idempotency import idempotent
from streamsvc.http.request_facts import current_request_facts
from streamsvc.operations.credentials import second_factor, trusted_devices
from streamsvc.operations.credentials.attempts import hit_address_limit
from streamsvc.operations.credentials.mailbox_proofs import is_first_foreign_proof
from streamsvc.operations.sign_in import hook, magic_links, password
from streamsvc.rules import rate_limits as limits
from streamsvc.rules.refusals.access import EndUserAddressInvalid
from streamsvc.rules.refusals.accounts import (
    SecondFactorInvalid,
    SecondFactorRequired,
    SignInDenied,
    TokenInvalid,
    TooManyAttempts,
)
from streamsvc.rules.sign_in.inputs import MagicLinkSignInInput
from streamsvc.rules.sign_in.sessions import SESSION_TOKEN_PREFIX
from streamsvc.schemas.sessions.magic_links import MagicLinkRequested, MagicLinkSignIn, NewMagicLink
from streamsvc.schemas.sessions.sessions import SignedIn
from streamsvc.security.access import accept_guest_token, public
from streamsvc.storage.database import db

bp = Blueprint("magic links", __name__, url_prefix="/v1", description="Sign in by emailed link.")


@bp.route("/magic-links", methods=["POST"])
@bp.arguments(NewMagicLink)
@public
@bp.errors(EndUserAddressInvalid, TooManyAttempts)
@bp.response(202, MagicLinkRequested)
def create_magic_link(body: dict) -> Response:
    """Request a magic link.

    The link works only in the browser or app that requested it. The response does not reveal whether the address
    has an account.
    """
    binding = get_or_create_binding(body["cookie"])
    magic_links.enqueue_magic_link(body["email"], binding, current_request_facts(), clock.now())
    db.session.commit()
    return response_with_binding({"status": "accepted"}, binding, body["cookie"], 202)


@bp.route("/sessions/magic-link", methods=["POST"])
@bp.arguments(MagicLinkSignIn)
@public
@accept_guest_token
@token_in_cookie_on_request
@idempotent(browser_binding=binding_cookie)
@bp.errors(
    EndUserAddressInvalid, SecondFactorInvalid, SecondFactorRequired, SignInDenied, TokenInvalid, TooManyAttempts
)
@bp.response(201, SignedIn)
def create_magic_link_session(body: MagicLinkSignInInput) -> Response:
    """Sign in with a magic link.

    Takes the emailed token, in the browser or app that requested it. Accounts with a second factor need it too: 401
    `second_factor_required`. If it is the first proof of the address, and does not come with the session that signed
    up, it revokes everything that was set before: password, sessions, passkeys, providers and authenticator.
    """
    facts = current_request_facts()
    hit_address_limit(limits.SECRET_BY_ADDRESS, facts)
    now, (device, trust_token) = clock.now(), device_and_trust_token(body)
    account_id = magic_links.get_magic_link_account_id(body["token"], presented_binding(body["binding"]), now)
    prover, second = current_prover(body["binding"]), None
    if not is_first_foreign_proof(account_id, prover):  # whose authenticator would be the squatter's
        account = password.load_sign_in_account(account_id, (device or {}).get("id"))
        second = second_factor.require_authenticator_code(account, body, trust_token, now)
    hook.require_permission(account_id, "magic_link", device, facts, second)
    magic_links.consume_magic_link(body["token"], now, prover)
    token = SESSION_TOKEN_PREFIX + idempotency.generate_secret()
    session = password.create_session(
        account_id, device, body["remember"], token, facts, now, notify=True, method="magic_link", second_factor=second
    )
    trust = trusted_devices.trust_device_if_requested(session, body["trust_device"], second, now)
    return sign_in_response(token, body["cookie"], trust)
