"""POST /v1/admin/accounts/{id}/impersonations: support looks on as a viewer."""

from streamsvc import clock
from streamsvc.http import idempotency
from streamsvc.http.edge import Blueprint
from streamsvc.http.idempotency import idempotent
from streamsvc.operations.operators import impersonation
from streamsvc.rules.sign_in.sessions import SESSION_TOKEN_PREFIX
from streamsvc.schemas.admin.operators import ImpersonationOut, NewImpersonation
from streamsvc.security.authentication import current_operator, operator_only

bp = Blueprint("impersonations", __name__, url_prefix="/v1/admin/accounts", description="Support looks on.")


@bp.route("/<account_id>/impersonations", methods=["POST"])
@bp.arguments(NewImpersonation)
@operator_only("support")
@idempotent()
@bp.response(201, ImpersonationOut)
def create_impersonation(body, account_id):
    """See what an account's owner sees, for half an hour at most, changing nothing.

    The owner finds the session among their own and may end it; so may support, as any session of the account.
    """
    token = SESSION_TOKEN_PREFIX + idempotency.generate_secret()
    session = impersonation.start_impersonation(account_id, current_operator(), body, token, clock.now())
    return {"session_id": session.id, "token": token, "expires_at": session.expires_at}
