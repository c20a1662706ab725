"""The signed-in operator's own password, authenticator and recovery codes."""

from streamsvc import clock
from streamsvc.blueprints.admin.audited_resources import OPERATOR
from streamsvc.http.edge import Blueprint
from streamsvc.operations.operators import credentials
from streamsvc.operations.outbox.audited_changes import audited, own_id
from streamsvc.rules.refusals.accounts import ReauthenticationRequired, TooManyAttempts, WrongCode, WrongPassword
from streamsvc.schemas.admin.operators import OperatorPasswordChange, OperatorTotpCode
from streamsvc.schemas.sessions.factors import RecoveryCodes, TotpSecret
from streamsvc.security import password_hashing
from streamsvc.security.access import human_operator_only
from streamsvc.security.principals import current_operator
from streamsvc.storage.database import db

bp = Blueprint(
    "operator credentials",
    __name__,
    url_prefix="/v1/admin/credentials",
    description="The signed-in operator's own credentials.",
)


@bp.route("/password", methods=["PUT"])
@bp.arguments(OperatorPasswordChange)
@human_operator_only
@bp.errors(TooManyAttempts, WrongPassword)
@bp.response(204)
@audited(OPERATOR, own_id, "authn_password_change")
def change_operator_password(body: dict) -> None:
    """Change your operator password.

    All your other operator sessions end.
    """
    operator = current_operator()
    credentials.check_operator_password_change(
        credentials.find_operator_row(operator.id), body["current_password"], body["password"]
    )
    new_hash = password_hashing.hash_password(body["password"])
    credentials.set_operator_password(operator.id, new_hash, operator.own_session.session_id, clock.now())
    db.session.commit()


@bp.route("/totp", methods=["POST"])
@human_operator_only
@bp.errors(ReauthenticationRequired)
@bp.response(201, TotpSecret)
@audited(OPERATOR, own_id)
def start_operator_totp() -> dict:
    """Start replacing your operator authenticator.

    The current one stays valid until the new one is confirmed. Requires a recent reauthentication.
    """
    operator = current_operator()
    operator.require_recent_authentication()
    enrollment = credentials.start_operator_totp(operator.id)
    db.session.commit()
    return enrollment


@bp.route("/totp", methods=["PUT"])
@bp.arguments(OperatorTotpCode)
@human_operator_only
@bp.errors(ReauthenticationRequired, WrongCode)
@bp.response(200, RecoveryCodes)
@audited(OPERATOR, own_id, "authn_factor_added")
def confirm_operator_totp(body: dict) -> dict:
    """Confirm your new operator authenticator with a code.

    It replaces the old one. All your other operator sessions end. Requires a recent reauthentication.
    """
    operator, now = current_operator(), clock.now()
    operator.require_recent_authentication()
    credentials_row = credentials.find_operator_row(operator.id)
    step = credentials.get_pending_totp_step(credentials_row, body["code"], now)
    codes = credentials.replace_operator_totp(credentials_row, step, operator.own_session.session_id, now)
    db.session.commit()
    return {"recovery_codes": codes}


@bp.route("/recovery-codes", methods=["PUT"])
@human_operator_only
@bp.errors(ReauthenticationRequired)
@bp.response(200, RecoveryCodes)
@audited(OPERATOR, own_id, "recovery_codes_made")
def replace_operator_recovery_codes() -> dict:
    """Replace your operator recovery codes.

    Returns ten new codes, once; the old ones become invalid. Requires a recent reauthentication.
    """
    operator = current_operator()
    operator.require_recent_authentication()
    codes = credentials.renew_operator_recovery_codes(operator.id, clock.now())
    db.session.commit()
    return {"recovery_codes": codes}
