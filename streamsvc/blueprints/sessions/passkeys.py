"""Passkeys: made, listed, removed, and signed in with."""

import msgspec

from streamsvc import clock
from streamsvc.blueprints.sessions.cookies import binding_for, binding_of, bound, device_of, token_as_cookie_if_asked
from streamsvc.blueprints.sessions.documents import signed_in
from streamsvc.http import idempotency
from streamsvc.http.edge import Blueprint, json_response
from streamsvc.http.idempotency import idempotent
from streamsvc.http.pagination import paginate_query
from streamsvc.models import Passkey
from streamsvc.operations.credentials import second_factor, trusted_devices
from streamsvc.operations.credentials.attempts import hit_address_limit
from streamsvc.operations.sign_in import passkeys, password
from streamsvc.rules import rate_limits as limits
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.rules.sign_in.sessions import SESSION_TOKEN_PREFIX
from streamsvc.schemas.base import PageQuery, page_of
from streamsvc.schemas.sessions.passkeys import BrowserJson, NewPasskey, PasskeyOptions, PasskeyOut, PasskeySignIn
from streamsvc.schemas.sessions.sessions import SignedIn
from streamsvc.security.authentication import current_viewer, public, require_recent_authentication
from streamsvc.storage.database import db

bp = Blueprint("passkeys", __name__, url_prefix="/v1", description="Sign-in without a password.")


@bp.route("/passkeys/options", methods=["POST"])
@bp.response(200, BrowserJson)
def create_options():
    """What to ask an authenticator for, for a new passkey."""
    require_recent_authentication()
    row = current_viewer().row
    options = passkeys.start_passkey_registration(row.account_id, row.email, row.session_id, clock.now())
    db.session.commit()
    return json_response(msgspec.json.encode(options))


@bp.route("/passkeys", methods=["POST"])
@bp.arguments(NewPasskey)
@idempotent()
@bp.response(201, PasskeyOut)
def create_passkey(given):
    """Keep the passkey that the authenticator made."""
    require_recent_authentication()
    row = current_viewer().row
    return passkeys.complete_passkey_registration(
        row.account_id, row.session_id, given["credential"], given["name"], clock.now()
    )


@bp.route("/passkeys")
@bp.arguments(PageQuery, location="query")
@bp.response(200, page_of(PasskeyOut))
def list_passkeys(asked):
    """The account's passkeys, the newest first."""
    return paginate_query(Passkey.owned_by(current_viewer().account_id), Passkey.id, asked, "passkeys")


@bp.route("/passkeys/<passkey_id>", methods=["DELETE"])
@bp.response(204)
def delete_passkey(passkey_id):
    """Remove a passkey."""
    require_recent_authentication()
    passkey = Passkey.of(current_viewer().account_id, passkey_id)
    if passkey is None:
        raise NotFound
    passkeys.delete_passkey(passkey, clock.now())
    db.session.commit()


@bp.route("/sessions/passkey-options", methods=["POST"])
@bp.arguments(PasskeyOptions)
@public
@bp.response(200, BrowserJson)
def create_sign_in_options(given):
    """What to ask an authenticator for, to sign in. The same for everybody."""
    hit_address_limit(limits.CHALLENGES_BY_ADDRESS)
    binding = binding_for(by_cookie=True) if given["cookie"] else None
    options = passkeys.start_passkey_sign_in(binding, clock.now())
    db.session.commit()
    return bound(options, binding, by_cookie=True) if binding else json_response(msgspec.json.encode(options))


@bp.route("/sessions/passkey", methods=["POST"])
@bp.arguments(PasskeySignIn)
@public
@token_as_cookie_if_asked
@idempotent()
@bp.response(201, SignedIn)
def create_session(given):
    """Sign in with a passkey. Where it knew its user, it stands for the password and the second proof."""
    hit_address_limit(limits.CHALLENGES_BY_ADDRESS)
    now, (device, given["device_trust"]) = clock.now(), device_of(given)
    signed = passkeys.verify_passkey_sign_in(given["credential"], binding_of(given), given["cookie"], now)
    second = None
    if not signed.response.user_verified:
        account = password.load_sign_in_account(signed.passkey.account_id, device and device.get("id"))
        second = second_factor.require_authenticator_code(account, given, now)
    account_id = passkeys.consume_assertion(signed, now)
    token = SESSION_TOKEN_PREFIX + idempotency.generate_secret()
    proof = {"method": "passkey", "second_factor": second}
    session = password.create_session(account_id, device, given["remember"], token, now, notify=True, **proof)
    trust = trusted_devices.trust_device_if_requested(session, given["trust_device"], second, now)
    return signed_in(token, given["cookie"], trust)
