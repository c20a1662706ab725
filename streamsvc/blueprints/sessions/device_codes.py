"""Television sign-in: a code on the screen, a yes on the phone (RFC 8628)."""

import msgspec
from flask import request
from marshmallow import EXCLUDE

from streamsvc import clock
from streamsvc.http import idempotency
from streamsvc.http.edge import Blueprint, json_response, refusal_response
from streamsvc.http.idempotency import idempotent
from streamsvc.operations.credentials.attempts import hit_address_limit
from streamsvc.operations.sign_in import device_codes, password
from streamsvc.operations.sign_in.device_codes import OAuthError
from streamsvc.rules import rate_limits as limits
from streamsvc.rules.refusals.requests import Invalid
from streamsvc.rules.sign_in.device_codes import DEVICE_CODE_PREFIX, GRANT_TYPE
from streamsvc.rules.sign_in.sessions import SESSION_LIFETIMES, new_token, session_lifetime_name
from streamsvc.schemas.sessions.device_codes import (
    Decision,
    DeviceAuthorization,
    DeviceAuthorizationIn,
    NewDeviceCode,
    TokenAnswer,
    TokenError,
    TokenRequest,
    UserCode,
    WaitingDevice,
)
from streamsvc.security.authentication import current_viewer, public
from streamsvc.storage.database import db

bp = Blueprint("device codes", __name__, url_prefix="/v1", description="Signing in a television.")

WORDS = {
    "authorization_pending": "Nobody has decided yet; poll again.",
    "slow_down": "Poll less often: five seconds more between polls.",
    "access_denied": "The owner said no.",
    "expired_token": "The code is too old; begin anew.",
    "invalid_grant": "This code is unknown or used.",
    "invalid_request": "Send what is asked for, once each: to poll, grant_type and device_code.",
    "unsupported_grant_type": f"Send grant_type={GRANT_TYPE}.",
}


@bp.route("/device-codes", methods=["POST"])
@bp.arguments(NewDeviceCode)
@public
@idempotent()
@bp.response(201, DeviceAuthorization)
def create_device_code(given):
    """Begin: the device shows `user_code` and polls /v1/token with `device_code`."""
    return _begin(given["device"])


@bp.route("/device-authorizations", methods=["POST"])
@bp.arguments(DeviceAuthorizationIn, location="form", unknown=EXCLUDE)
@public
@bp.response(200, DeviceAuthorization)
@bp.alt_response(400, schema=TokenError(), description="RFC 6749, 5.2.")
def authorize_device(given):
    """The same for standard OAuth clients: form-encoded, as RFC 8628, 3.1 says."""
    begun = _begin({"name": given["device_name"], "kind": "tv"})
    db.session.commit()
    return begun


@bp.route("/device-code-lookups", methods=["POST"])
@bp.arguments(UserCode)
@bp.response(200, WaitingDevice)
def look_up_device_code(given):
    """What waits under this code, to be shown before saying yes. A POST, since each try is counted."""
    hit_address_limit(limits.SECRET_BY_ADDRESS)
    return device_codes.get_pending_device_code(given["user_code"], clock.now())


@bp.route("/device-codes/<user_code>/decision", methods=["PUT"])
@bp.arguments(Decision)
@bp.response(204)
def put_decision(given, user_code):
    """Let the device sign in to the caller's account, or not."""
    hit_address_limit(limits.SECRET_BY_ADDRESS)
    row = current_viewer().row
    device_codes.decide_device_code(user_code, row.account_id, given["approve"], row.authenticated_at, clock.now())
    db.session.commit()


@bp.route("/token", methods=["POST"])
@bp.arguments(TokenRequest, location="form", unknown=EXCLUDE)
@public
@bp.response(200, TokenAnswer)
@bp.alt_response(400, schema=TokenError(), description="RFC 6749, 5.2 and RFC 8628, 3.5.")
def create_token(given):
    """Poll: the token once the owner said yes, or why there is none."""
    if given.get("grant_type") != GRANT_TYPE:
        return _refused("unsupported_grant_type" if "grant_type" in given else "invalid_request")
    if "device_code" not in given:
        return _refused("invalid_request")
    now = clock.now()
    try:
        code = device_codes.poll_device_code(given["device_code"], now)
    except OAuthError as error:
        return _refused(error.error)
    token, device = new_token(), {name: code.device[name] for name in ("name", "kind")}
    proof = {"method": "device_code", "authenticated_at": device_codes.approver_authenticated_at(code)}
    password.create_session(code.account_id, device, True, token, now, notify=True, **proof)
    db.session.commit()
    lifetime = SESSION_LIFETIMES[session_lifetime_name(code.device["kind"], True)]
    told = {"access_token": token, "token_type": "Bearer", "expires_in": int(lifetime.idle.total_seconds())}
    return told, 200, {"Pragma": "no-cache"}  # beside Cache-Control, which every answer has: RFC 6749, 5.1


@bp.errorhandler(Invalid)
def refuse(error):
    """To an OAuth client in the standard's words, to everybody else as ever."""
    is_oauth = request.endpoint in (f"{bp.name}.{view.__name__}" for view in (authorize_device, create_token))
    return _refused("invalid_request") if is_oauth else refusal_response(error)


def _begin(device: dict) -> dict:
    hit_address_limit(limits.SECRET_BY_ADDRESS)
    device_code = DEVICE_CODE_PREFIX + idempotency.generate_secret()
    return device_codes.create_device_code(
        device, device_code, idempotency.generate_secret(idempotency.USER_CODE), clock.now()
    )


def _refused(error: str):
    return json_response(msgspec.json.encode({"error": error, "error_description": WORDS[error]}), 400)
