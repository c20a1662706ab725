"""Recoveries that support started: their owner sees, cancels and finishes them."""

from streamsvc import clock
from streamsvc.http.edge import Blueprint
from streamsvc.http.pagination import paginate_query
from streamsvc.http.request_facts import current_request_facts
from streamsvc.models import AccountRecovery
from streamsvc.operations.credentials.attempts import hit_address_limit
from streamsvc.operations.sign_in import password_changes, recoveries
from streamsvc.rules import rate_limits as limits
from streamsvc.rules.inputs import PageInput
from streamsvc.rules.refusals.access import EndUserAddressInvalid
from streamsvc.rules.refusals.accounts import EmailTaken, SessionTooNew, TokenInvalid, TooManyAttempts
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.schemas.base import PageQuery, page_of
from streamsvc.schemas.sessions.accounts import MailedTokenIn
from streamsvc.schemas.sessions.recoveries import RecoveryCompletion, RecoveryOut
from streamsvc.security import password_hashing
from streamsvc.security.access import public
from streamsvc.security.principals import current_viewer
from streamsvc.storage.database import db

bp = Blueprint("recoveries", __name__, url_prefix="/v1", description="Recoveries of accounts that support started.")


@bp.route("/account/recoveries")
@bp.arguments(PageQuery, location="query")
@bp.response(200, page_of(RecoveryOut))
def list_recoveries(query: PageInput) -> dict:
    """List recoveries of your account that support started, newest first."""
    recoveries_query = AccountRecovery.select_owned(current_viewer().account_id)
    page, now = paginate_query(recoveries_query, AccountRecovery.id, query, "recoveries"), clock.now()
    return page | {"items": [recoveries.recovery_view(row, now) for row in page["items"]]}


@bp.route("/account/recoveries/<recovery_id>", methods=["DELETE"])
@bp.errors(NotFound, SessionTooNew)
@bp.response(204)
def cancel_recovery(recovery_id: str) -> None:
    """Cancel a recovery of your account.

    Any session can, unless support restricted it to those from before the takeover: 403 `session_too_new`.
    """
    row = current_viewer().row
    recoveries.cancel_recovery_by_session(row.account_id, recovery_id, row.session_id, clock.now())
    db.session.commit()


@bp.route("/account-recovery-cancellations", methods=["PUT"])
@bp.arguments(MailedTokenIn)
@public
@bp.errors(EndUserAddressInvalid, TokenInvalid, TooManyAttempts)
@bp.response(204)
def cancel_recovery_by_link(body: dict) -> None:
    """Cancel a recovery with the token of the email that announced it."""
    hit_address_limit(limits.SECRET_BY_ADDRESS, current_request_facts())
    recoveries.cancel_recovery_by_link(body["token"], clock.now())
    db.session.commit()


@bp.route("/account-recoveries", methods=["PUT"])
@bp.arguments(RecoveryCompletion)
@public
@bp.errors(EmailTaken, EndUserAddressInvalid, TokenInvalid, TooManyAttempts)
@bp.response(204)
def finish_recovery(body: dict) -> None:
    """Finish a recovery with the token that was emailed after the waiting time.

    Sets the password and ends all sessions. What was added since the takeover is revoked: preview it with
    `POST /v1/access-revocation-previews`.
    """
    hit_address_limit(limits.SECRET_BY_ADDRESS, current_request_facts())
    password_changes.check_new_password(body["token"], body["password"], clock.now(), recoveries.FINISH_KIND)
    new_hash = password_hashing.hash_password(body["password"])
    recoveries.finish_recovery(body["token"], new_hash, clock.now())
    db.session.commit()
