"""Two-factor authentication by authenticator app."""

from flask import Response

from streamsvc import clock
from streamsvc.blueprints.sessions.cookies import new_token_response
from streamsvc.http import idempotency
from streamsvc.http.edge import Blueprint
from streamsvc.http.idempotency import idempotent
from streamsvc.operations.credentials import second_factor
from streamsvc.operations.sign_in import reauthentication
from streamsvc.rules.refusals.accounts import ReauthenticationRequired, TooManyAttempts, TotpActive, WrongCode
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.schemas.sessions.factors import RecoveryCodes, TotpCode, TotpConfirmed, TotpSecret, TotpStatus
from streamsvc.security.principals import current_viewer, require_recent_authentication
from streamsvc.storage.database import db

bp = Blueprint(
    "two-factor authentication",
    __name__,
    url_prefix="/v1/account/totp",
    description="Two-factor authentication by authenticator app.",
)


@bp.route("")
@bp.response(200, TotpStatus)
def get_totp() -> dict:
    """Retrieve the state of two-factor authentication.

    Returns whether sign-ins ask for a code, and how many recovery codes are left.
    """
    return second_factor.totp_view(current_viewer().account_id)


def _require_open_enrollment() -> None:
    """Check that the secret may be shown again. Raises ReauthenticationRequired, TotpActive."""
    require_recent_authentication()
    if second_factor.totp_view(current_viewer().account_id)["active"]:
        raise TotpActive


@bp.route("", methods=["POST"])
@idempotent(before_replay=_require_open_enrollment)
@bp.errors(ReauthenticationRequired, TotpActive)
@bp.response(201, TotpSecret)
def start_totp() -> dict:
    """Start setting up an authenticator app.

    Takes effect once a code confirms it. Calling it again replaces the secret. Requires a recent reauthentication, as
    does a retry with the same idempotency key.
    """
    require_recent_authentication()
    row = current_viewer().row
    secret = idempotency.generate_secret(idempotency.TOTP_SECRET)
    return second_factor.start_totp_enrollment(row.account_id, row.session_id, row.email, secret, clock.now())


@bp.route("", methods=["PUT"])
@bp.arguments(TotpCode)
@bp.errors(ReauthenticationRequired, TooManyAttempts, WrongCode)
@bp.response(200, TotpConfirmed)
def confirm_totp(body: dict) -> Response:
    """Confirm the authenticator app with a code.

    From now on every sign-in asks for a code. The recovery codes are returned only once. Requires a recent
    reauthentication.
    """
    require_recent_authentication()
    row = current_viewer().row
    codes = second_factor.complete_totp_enrollment(row.account_id, row.session_id, body["code"], clock.now())
    token = reauthentication.renew_session_token(current_viewer(), body["rotate"])
    db.session.commit()
    return new_token_response(token, {"recovery_codes": codes})


@bp.route("", methods=["DELETE"])
@bp.errors(NotFound, ReauthenticationRequired)
@bp.response(204)
def delete_totp() -> None:
    """Turn two-factor authentication off.

    Requires a recent reauthentication.
    """
    require_recent_authentication()
    second_factor.delete_totp(current_viewer().account_id, clock.now())
    db.session.commit()


@bp.route("/recovery-codes", methods=["PUT"])
@bp.errors(NotFound, ReauthenticationRequired)
@bp.response(200, RecoveryCodes)
def replace_recovery_codes() -> dict:
    """Replace your recovery codes.

    Returns ten new codes, once; the old ones become invalid. Requires a recent reauthentication.
    """
    require_recent_authentication()
    row = current_viewer().row
    if not second_factor.totp_view(row.account_id)["active"]:
        raise NotFound
    codes = second_factor.renew_recovery_codes(row.account_id, row.session_id, row.email, clock.now())
    db.session.commit()
    return {"recovery_codes": codes}
