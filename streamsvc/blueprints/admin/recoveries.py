"""Recoveries of accounts: support starts and cancels them, only the owner finishes them."""

from streamsvc import clock
from streamsvc.blueprints.admin.audited_resources import RECOVERY
from streamsvc.http.edge import Blueprint
from streamsvc.http.idempotency import idempotent
from streamsvc.http.pagination import paginate_query
from streamsvc.models import Account, AccountRecovery
from streamsvc.operations.outbox.audited_changes import audited, created_id
from streamsvc.operations.sign_in import recoveries
from streamsvc.rules.inputs import PageInput
from streamsvc.rules.refusals.accounts import AccountNotActive, RecoveryPending
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.rules.sign_in.inputs import RecoveryInput
from streamsvc.schemas.admin.recoveries import AdminRecovery, NewRecovery
from streamsvc.schemas.base import PageQuery, page_of
from streamsvc.security.access import operator_only
from streamsvc.security.principals import current_operator
from streamsvc.storage.database import db

bp = Blueprint(
    "admin recoveries",
    __name__,
    url_prefix="/v1/admin/accounts",
    description="Start, view and cancel recoveries of viewers' accounts.",
)


@bp.route("/<account_id>/recoveries", methods=["POST"])
@bp.arguments(NewRecovery)
@operator_only("support")
@idempotent()
@bp.errors(AccountNotActive, RecoveryPending)
@bp.response(201, AdminRecovery)
@audited(RECOVERY, created_id, "recovery_started")
def start_recovery(body: RecoveryInput, account_id: str) -> dict:
    """Start a recovery of an account.

    All addresses that the account has or had are notified and can cancel. After `STREAMSVC_RECOVERY_WAIT_HOURS`, the
    address that it had at `since` gets a link by which its owner sets a password and revokes everything added since. A
    disabled account is 409 `account_not_active`; a pending recovery is 409 `recovery_pending`.
    """
    now = clock.now()
    return recoveries.admin_recovery_view(recoveries.start_recovery(account_id, body, current_operator().id, now), now)


@bp.route("/<account_id>/recoveries")
@bp.arguments(PageQuery, location="query")
@operator_only("support")
@bp.response(200, page_of(AdminRecovery))
def list_account_recoveries(query: PageInput, account_id: str) -> dict:
    """List the recoveries of an account, newest first."""
    if db.session.get(Account, account_id) is None:
        raise NotFound
    page = paginate_query(AccountRecovery.select_owned(account_id), AccountRecovery.id, query, "admin_recoveries")
    now = clock.now()
    return page | {"items": [recoveries.admin_recovery_view(row, now) for row in page["items"]]}


@bp.route("/<account_id>/recoveries/<recovery_id>")
@operator_only("support")
@bp.response(200, AdminRecovery)
def get_recovery(account_id: str, recovery_id: str) -> dict:
    """Retrieve a recovery of an account."""
    recovery = AccountRecovery.find_owned(account_id, recovery_id)
    if recovery is None:
        raise NotFound
    return recoveries.admin_recovery_view(recovery, clock.now())


@bp.route("/<account_id>/recoveries/<recovery_id>", methods=["DELETE"])
@operator_only("support")
@bp.response(204)
@audited(RECOVERY, "recovery_id", "recovery_canceled")
def cancel_account_recovery(account_id: str, recovery_id: str) -> None:
    """Cancel a pending recovery of an account."""
    recoveries.cancel_recovery_by_operator(account_id, recovery_id, current_operator().id, clock.now())
    db.session.commit()
