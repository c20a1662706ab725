"""An authenticator app as the second proof."""

from streamsvc import clock
from streamsvc.blueprints.sessions.cookies import with_token
from streamsvc.http import idempotency
from streamsvc.http.edge import Blueprint
from streamsvc.http.idempotency import idempotent
from streamsvc.operations.credentials import second_factor
from streamsvc.operations.sign_in import reauthentication
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.schemas.sessions.factors import RecoveryCodes, TotpCode, TotpConfirmed, TotpSecret, TotpStanding
from streamsvc.security.authentication import current_viewer, require_recent_authentication
from streamsvc.storage.database import db

bp = Blueprint("second factors", __name__, url_prefix="/v1/account/totp", description="A second proof.")


@bp.route("")
@bp.response(200, TotpStanding)
def read_totp():
    """Whether every sign-in asks for a code, and how many recovery codes are left."""
    return second_factor.totp_view(current_viewer().account_id)


@bp.route("", methods=["POST"])
@idempotent()
@bp.response(201, TotpSecret)
def create_totp():
    """Begin with an authenticator app. It counts once a code of it was sent; asking again replaces the secret."""
    require_recent_authentication()
    row = current_viewer().row
    secret = idempotency.generate_secret(idempotency.TOTP_SECRET)
    return second_factor.start_totp_enrollment(row.account_id, row.email, secret, clock.now())


@bp.route("", methods=["PUT"])
@bp.arguments(TotpCode)
@bp.response(200, TotpConfirmed)
def confirm_totp(body):
    """Show one code: from now on every sign-in asks for one. The recovery codes are shown this once."""
    require_recent_authentication()
    codes = second_factor.complete_totp_enrollment(current_viewer().account_id, body["code"], clock.now())
    token = reauthentication.renew_session_token(current_viewer(), body["rotate"])
    db.session.commit()
    return with_token(token, {"recovery_codes": codes})


@bp.route("", methods=["DELETE"])
@bp.response(204)
def delete_totp():
    """Sign in by password alone again."""
    require_recent_authentication()
    second_factor.delete_totp(current_viewer().account_id, clock.now())
    db.session.commit()


@bp.route("/recovery-codes", methods=["PUT"])
@bp.response(200, RecoveryCodes)
def put_recovery_codes():
    """Ten new recovery codes; those before count no more."""
    require_recent_authentication()
    row = current_viewer().row
    if not second_factor.totp_view(row.account_id)["active"]:
        raise NotFound
    codes = second_factor.renew_recovery_codes(row.account_id, row.email, clock.now())
    db.session.commit()
    return {"recovery_codes": codes}
