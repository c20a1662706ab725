"""Television sign-in by device code (RFC 8628)."""

from typing import Any

import msgspec
from flask import Response, request
from marshmallow import EXCLUDE

from streamsvc import clock
from streamsvc.http import idempotency
from streamsvc.http.edge import Blueprint, json_response, refusal_response
from streamsvc.http.idempotency import idempotent
from streamsvc.http.request_facts import current_request_facts
from streamsvc.models import DeviceCode
from streamsvc.operations.credentials.attempts import hit_address_limit
from streamsvc.operations.sign_in import device_codes, password
from streamsvc.operations.sign_in.device_codes import OAuthError
from streamsvc.rules import rate_limits as limits
from streamsvc.rules.refusals.access import EndUserAddressInvalid
from streamsvc.rules.refusals.accounts import TooManyAttempts
from streamsvc.rules.refusals.base import Refusal
from streamsvc.rules.refusals.requests import Invalid, NotFound, WrongMediaType
from streamsvc.rules.sign_in.device_codes import DEVICE_CODE_PREFIX, GRANT_TYPE
from streamsvc.rules.sign_in.sessions import SESSION_LIFETIMES, new_token, session_lifetime_name
from streamsvc.schemas.sessions.device_codes import (
    Decision,
    DeviceAuthorization,
    DeviceAuthorizationIn,
    NewDeviceCode,
    PendingDevice,
    TokenError,
    TokenRequest,
    TokenResponse,
    UserCode,
)
from streamsvc.security.access import accept_guest_token, public
from streamsvc.security.principals import current_viewer
from streamsvc.storage.database import db

bp = Blueprint("device codes", __name__, url_prefix="/v1", description="Television sign-in by device code (RFC 8628).")

ERROR_DESCRIPTIONS = {
    "authorization_pending": "The request has not been approved or denied yet; poll again.",
    "slow_down": "Polling too often; wait five seconds longer between polls.",
    "access_denied": "The account's owner or the service denied the request.",
    "expired_token": "The code has expired; start again.",
    "invalid_grant": "The code is unknown or was already used.",
    "invalid_request": (
        "A parameter is missing, repeated or invalid. Send a form (application/x-www-form-urlencoded); to poll, with "
        "grant_type and device_code."
    ),
    "unsupported_grant_type": f"Send grant_type={GRANT_TYPE}.",
}


@bp.route("/device-codes", methods=["POST"])
@bp.arguments(NewDeviceCode)
@public
@idempotent()
@bp.errors(TooManyAttempts)
@bp.response(201, DeviceAuthorization)
def create_device_code(body: dict) -> dict:
    """Start a television sign-in.

    The device shows `user_code` and polls `POST /v1/token` with `device_code`.
    """
    return _start_device_code(body["device"])


@bp.route("/device-authorizations", methods=["POST"])
@bp.arguments(DeviceAuthorizationIn, location="form", unknown=EXCLUDE)
@public
@bp.errors(TooManyAttempts)
@bp.response(200, DeviceAuthorization)
@bp.alt_response(400, schema=TokenError(), description="An OAuth error (RFC 6749, section 5.2).")
def authorize_device(form: dict) -> dict:
    """Start a device authorization (OAuth).

    The same as `POST /v1/device-codes` for standard OAuth clients: form-encoded, RFC 8628 section 3.1.
    """
    authorization = _start_device_code({"name": form["device_name"], "kind": "tv"})
    db.session.commit()
    return authorization


@bp.route("/device-code-lookups", methods=["POST"])
@bp.arguments(UserCode)
@bp.errors(EndUserAddressInvalid, NotFound, TooManyAttempts)
@bp.response(200, PendingDevice)
def look_up_device_code(body: dict) -> DeviceCode:
    """Look up a device code.

    Returns the device that is waiting, for the viewer to check before approving it. A POST because every attempt is
    counted.
    """
    hit_address_limit(limits.SECRET_BY_ADDRESS, current_request_facts())
    return device_codes.get_pending_device_code(body["user_code"], clock.now())


@bp.route("/device-codes/<user_code>/decision", methods=["PUT"])
@bp.arguments(Decision)
@bp.errors(EndUserAddressInvalid, TooManyAttempts)
@bp.response(204)
def decide_device_code(body: dict, user_code: str) -> None:
    """Approve or deny a device code.

    Approving signs the device in to your account, unless your session ends before the device polls.
    """
    hit_address_limit(limits.SECRET_BY_ADDRESS, current_request_facts())
    row, now = current_viewer().row, clock.now()
    device_codes.decide_device_code(
        user_code, row.account_id, row.session_id, body["approve"], row.authenticated_at, now
    )
    db.session.commit()


@bp.route("/token", methods=["POST"])
@bp.arguments(TokenRequest, location="form", unknown=EXCLUDE)
@public
@accept_guest_token
@bp.errors(EndUserAddressInvalid)
@bp.response(200, TokenResponse)
@bp.alt_response(400, schema=TokenError(), description="An OAuth error (RFC 6749, section 5.2; RFC 8628, section 3.5).")
def create_token(form: dict) -> Any:
    """Poll for the token of a device code.

    Responds with the token once the viewer has approved, else with an RFC 8628 error such as
    `authorization_pending`.
    """
    if form.get("grant_type") != GRANT_TYPE:
        return _oauth_error("unsupported_grant_type" if "grant_type" in form else "invalid_request")
    if "device_code" not in form:
        return _oauth_error("invalid_request")
    now = clock.now()
    try:
        code = device_codes.poll_device_code(form["device_code"], current_request_facts(), now)
    except OAuthError as error:
        return _oauth_error(error.error)
    token, device = new_token(), {name: code.device[name] for name in ("name", "kind")}
    authenticated_at = device_codes.approver_authenticated_at(code)
    session = password.create_session(
        code.account_id,
        device,
        True,
        token,
        current_request_facts(),
        now,
        notify=True,
        method="device_code",
        authenticated_at=authenticated_at,
        added_by_session_id=code.decided_by_session_id,
    )
    db.session.commit()
    lifetime = SESSION_LIFETIMES[session_lifetime_name(code.device["kind"], True)]
    response = {"access_token": token, "token_type": "Bearer", "expires_in": int(lifetime.idle.total_seconds())}
    if session.dpop_jkt:
        response["token_type"] = "DPoP"
    return response, 200, {"Pragma": "no-cache"}  # required by RFC 6749, 5.1; every response has Cache-Control


@bp.errorhandler(WrongMediaType)
@bp.errorhandler(Invalid)
def render_invalid_request(error: Refusal) -> Response:
    """Render invalid input as an OAuth error at the OAuth endpoints, else as a problem document.

    A compressed body gets a problem document everywhere: it names the codings that are accepted (RFC 9110, 15.5.16).
    """
    is_oauth = request.endpoint in [f"{bp.name}.{view.__name__}" for view in (authorize_device, create_token)]
    if is_oauth and "Accept-Encoding" not in error.headers:
        return _oauth_error("invalid_request")
    return refusal_response(error)


def _start_device_code(device: dict) -> dict:
    """Create a device code for `device`. Returns the fields of `DeviceAuthorization`."""
    facts = current_request_facts()
    hit_address_limit(limits.SECRET_BY_ADDRESS, facts)
    device_code = DEVICE_CODE_PREFIX + idempotency.generate_secret()
    user_code = idempotency.generate_secret(idempotency.USER_CODE)
    return device_codes.create_device_code(device, device_code, user_code, facts, clock.now())


def _oauth_error(error: str) -> Response:
    return json_response(msgspec.json.encode({"error": error, "error_description": ERROR_DESCRIPTIONS[error]}), 400)
