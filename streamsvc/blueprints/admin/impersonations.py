"""Read-only support sessions in a viewer's account."""

from streamsvc import clock
from streamsvc.blueprints.admin.audited_resources import SESSION
from streamsvc.http import idempotency
from streamsvc.http.edge import Blueprint
from streamsvc.http.idempotency import idempotent
from streamsvc.operations.operators import impersonation
from streamsvc.operations.outbox.audited_changes import audited
from streamsvc.rules.refusals.accounts import AccountNotActive
from streamsvc.rules.sign_in.inputs import ImpersonationInput
from streamsvc.rules.sign_in.sessions import SESSION_TOKEN_PREFIX
from streamsvc.schemas.admin.operators import ImpersonationOut, NewImpersonation
from streamsvc.security.access import operator_only
from streamsvc.security.principals import current_operator

bp = Blueprint(
    "admin impersonations",
    __name__,
    url_prefix="/v1/admin/accounts",
    description="Read-only support sessions in a viewer's account.",
)


@bp.route("/<account_id>/impersonations", methods=["POST"])
@bp.arguments(NewImpersonation)
@operator_only("support")
@idempotent()
@bp.errors(AccountNotActive)
@bp.response(201, ImpersonationOut)
@audited(SESSION, lambda result: result["session_id"], "impersonation_started")
def create_impersonation(body: ImpersonationInput, account_id: str) -> dict:
    """Start a read-only support session in an account.

    Shows what the owner sees, for 30 minutes at most. The owner sees the session in their list and can end it; so
    can support, like any session of the account.
    """
    token = SESSION_TOKEN_PREFIX + idempotency.generate_secret()
    session = impersonation.start_impersonation(account_id, current_operator(), body, token, clock.now())
    return {"session_id": session.id, "token": token, "expires_at": session.expires_at}
