"""Passkeys (WebAuthn): registration, sign-in, management."""

import msgspec
from flask import Response

from streamsvc import clock
from streamsvc.blueprints.sessions.cookies import (
    device_and_trust_token,
    get_or_create_binding,
    presented_binding,
    response_with_binding,
    token_in_cookie_on_request,
)
from streamsvc.blueprints.sessions.documents import sign_in_response
from streamsvc.http import idempotency
from streamsvc.http.edge import Blueprint, json_response
from streamsvc.http.idempotency import idempotent
from streamsvc.http.pagination import paginate_query
from streamsvc.http.request_facts import current_request_facts
from streamsvc.models import Passkey
from streamsvc.operations.credentials import second_factor, trusted_devices
from streamsvc.operations.credentials.attempts import hit_address_limit
from streamsvc.operations.sign_in import hook, passkeys, password
from streamsvc.rules import rate_limits as limits
from streamsvc.rules.inputs import PageInput
from streamsvc.rules.refusals.access import EndUserAddressInvalid
from streamsvc.rules.refusals.accounts import (
    InvalidCredentials,
    PasskeyInvalid,
    PasskeyLimit,
    ReauthenticationRequired,
    SecondFactorInvalid,
    SecondFactorRequired,
    SignInDenied,
    TooManyAttempts,
)
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.rules.sign_in.inputs import PasskeySignInInput
from streamsvc.rules.sign_in.sessions import SESSION_TOKEN_PREFIX
from streamsvc.schemas.base import PageQuery, page_of
from streamsvc.schemas.sessions.passkeys import BrowserJson, NewPasskey, PasskeyOptions, PasskeyOut, PasskeySignIn
from streamsvc.schemas.sessions.sessions import SignedIn
from streamsvc.security.access import accept_guest_token, public
from streamsvc.security.principals import current_viewer, require_recent_authentication
from streamsvc.storage.database import db

bp = Blueprint("passkeys", __name__, url_prefix="/v1", description="Sign in with passkeys (WebAuthn).")


@bp.route("/passkeys/options", methods=["POST"])
@bp.errors(PasskeyLimit, ReauthenticationRequired)
@bp.response(200, BrowserJson)
def start_passkey_registration() -> Response:
    """Create options for registering a passkey.

    Requires a recent reauthentication.
    """
    require_recent_authentication()
    row = current_viewer().row
    options = passkeys.start_passkey_registration(row.account_id, row.email, row.session_id, clock.now())
    db.session.commit()
    return json_response(msgspec.json.encode(options))


@bp.route("/passkeys", methods=["POST"])
@bp.arguments(NewPasskey)
@idempotent()
@bp.errors(PasskeyInvalid, PasskeyLimit, ReauthenticationRequired)
@bp.response(201, PasskeyOut)
def create_passkey(body: dict) -> Passkey:
    """Register a passkey.

    Takes the authenticator's response to the options. Requires a recent reauthentication.
    """
    require_recent_authentication()
    row = current_viewer().row
    return passkeys.complete_passkey_registration(
        row.account_id, row.session_id, body["credential"], body["name"], clock.now()
    )


@bp.route("/passkeys")
@bp.arguments(PageQuery, location="query")
@bp.response(200, page_of(PasskeyOut))
def list_passkeys(query: PageInput) -> dict:
    """List your passkeys, newest first."""
    return paginate_query(Passkey.select_owned(current_viewer().account_id), Passkey.id, query, "passkeys")


@bp.route("/passkeys/<passkey_id>", methods=["DELETE"])
@bp.errors(ReauthenticationRequired)
@bp.response(204)
def delete_passkey(passkey_id: str) -> None:
    """Delete a passkey.

    Requires a recent reauthentication.
    """
    require_recent_authentication()
    passkey = Passkey.find_owned(current_viewer().account_id, passkey_id)
    if passkey is None:
        raise NotFound
    passkeys.delete_passkey(passkey, clock.now())
    db.session.commit()


@bp.route("/sessions/passkey-options", methods=["POST"])
@bp.arguments(PasskeyOptions)
@public
@bp.errors(EndUserAddressInvalid, TooManyAttempts)
@bp.response(200, BrowserJson)
def start_passkey_sign_in(body: dict) -> Response:
    """Create options for signing in with a passkey.

    The response is the same for every caller and reveals no account.
    """
    hit_address_limit(limits.CHALLENGES_BY_ADDRESS, current_request_facts())
    binding = get_or_create_binding(by_cookie=True) if body["cookie"] else None
    options = passkeys.start_passkey_sign_in(binding, clock.now())
    db.session.commit()
    return (
        response_with_binding(options, binding, by_cookie=True)
        if binding
        else json_response(msgspec.json.encode(options))
    )


@bp.route("/sessions/passkey", methods=["POST"])
@bp.arguments(PasskeySignIn)
@public
@accept_guest_token
@token_in_cookie_on_request
@idempotent()
@bp.errors(
    EndUserAddressInvalid, InvalidCredentials, SecondFactorInvalid, SecondFactorRequired, SignInDenied, TooManyAttempts
)
@bp.response(201, SignedIn)
def create_passkey_session(body: PasskeySignInInput) -> Response:
    """Sign in with a passkey.

    If the authenticator verified the user, the passkey counts as both factors.
    """
    facts = current_request_facts()
    hit_address_limit(limits.CHALLENGES_BY_ADDRESS, facts)
    now, (device, trust_token) = clock.now(), device_and_trust_token(body)
    signed = passkeys.verify_passkey_sign_in(body["credential"], presented_binding(None), body["cookie"], now)
    second = None
    if not signed.response.user_verified:
        account = password.load_sign_in_account(signed.passkey.account_id, (device or {}).get("id"))
        second = second_factor.require_authenticator_code(account, body, trust_token, now)
    hook.require_permission(signed.passkey.account_id, "passkey", device, facts, second)
    account_id = passkeys.consume_assertion(signed, now)
    token = SESSION_TOKEN_PREFIX + idempotency.generate_secret()
    session = password.create_session(
        account_id, device, body["remember"], token, facts, now, notify=True, method="passkey", second_factor=second
    )
    trust = trusted_devices.trust_device_if_requested(session, body["trust_device"], second, now)
    return sign_in_response(token, body["cookie"], trust)
