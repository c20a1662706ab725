"""/v1/admin/operators: who operates, in which role; /v1/admin/invitations: how they set up what proves them."""

from streamsvc import clock
from streamsvc.http.edge import Blueprint
from streamsvc.http.idempotency import idempotent
from streamsvc.http.pagination import paginate_query
from streamsvc.models import OperatorAccount
from streamsvc.operations.accounts import accounts
from streamsvc.operations.credentials.attempts import hit_address_limit
from streamsvc.operations.operators import credentials, people
from streamsvc.rules import rate_limits as limits
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.schemas.admin.operators import (
    Enrolment,
    Invitation,
    InvitedOperator,
    NewOperator,
    OperatorOut,
    OperatorPatch,
)
from streamsvc.schemas.base import PageQuery, page_of
from streamsvc.schemas.sessions.factors import RecoveryCodes
from streamsvc.security import password_hashing
from streamsvc.security.authentication import current_operator, operator_only, public
from streamsvc.storage.database import db

bp = Blueprint("operators", __name__, url_prefix="/v1/admin", description="Who operates, in which role.")


@bp.route("/operators")
@bp.arguments(PageQuery, location="query")
@operator_only("admin")
@bp.response(200, page_of(OperatorOut))
def list_operators(query):
    """Every operator but those removed, the newest first."""
    return paginate_query(OperatorAccount.not_removed(), OperatorAccount.id, query, "operators")


@bp.route("/operators", methods=["POST"])
@bp.arguments(NewOperator)
@operator_only("admin")
@idempotent()
@bp.response(201, OperatorOut)
def create_operator(body):
    """Invite somebody by mail: they set a password and an authenticator of their own."""
    current_operator().require_recent_authentication()
    made = people.invite_operator(body["email"], body["name"], body["role"], clock.now())
    return db.session.get(OperatorAccount, made)


@bp.route("/operators/<operator_id>")
@operator_only("admin")
@bp.response(200, OperatorOut)
def read_operator(operator_id):
    """One operator, a removed one too: the audit log names them by id."""
    found = db.session.get(OperatorAccount, operator_id)
    if found is None:
        raise NotFound
    return found


@bp.route("/operators/<operator_id>", methods=["PATCH"])
@bp.arguments(OperatorPatch)
@operator_only("admin")
@bp.response(200, OperatorOut)
def patch_operator(body, operator_id):
    """Another name, role or status, which counts from the operator's next request. An admin remains."""
    current_operator().require_recent_authentication()
    changed = people.update_operator(operator_id, body, clock.now())
    db.session.commit()
    return changed


@bp.route("/operators/<operator_id>", methods=["DELETE"])
@operator_only("admin")
@bp.response(204)
def delete_operator(operator_id):
    """End an operator for good; the audit log keeps the id, and this service whose it was."""
    current_operator().require_recent_authentication()
    people.remove_operator(operator_id, clock.now())
    db.session.commit()


@bp.route("/operators/<operator_id>/sessions", methods=["DELETE"])
@operator_only("admin")
@bp.response(204)
def delete_sessions_of_operator(operator_id):
    """Sign an operator out everywhere."""
    people.revoke_operator_sessions(operator_id, clock.now())
    db.session.commit()


@bp.route("/operators/<operator_id>/reset", methods=["POST"])
@operator_only("admin")
@idempotent()
@bp.response(202, OperatorOut)
def reset_operator(operator_id):
    """Take password and authenticator away at once, and invite anew by mail. Nobody chooses another's password."""
    current_operator().require_recent_authentication()
    return people.reset_operator(operator_id, clock.now())


@bp.route("/invitations", methods=["POST"])
@bp.arguments(Invitation)
@public
@bp.response(200, InvitedOperator)
def open_invitation(body):
    """See who is invited, and begin with an authenticator; asking again replaces its secret."""
    hit_address_limit(limits.SECRET_BY_ADDRESS)
    operator = credentials.get_invited_operator(body["token"], clock.now())
    begun = credentials.start_operator_totp(operator.id)
    db.session.commit()
    return begun | {name: getattr(operator, name) for name in ("email", "name", "role")}


@bp.route("/invitations", methods=["PUT"])
@bp.arguments(Enrolment)
@public
@bp.response(200, RecoveryCodes)
def accept_invitation(body):
    """Set the password and the authenticator, both at once. The recovery codes are shown this once."""
    hit_address_limit(limits.SECRET_BY_ADDRESS)
    now = clock.now()
    operator = credentials.get_invited_operator(body["token"], now)
    accounts.check_password_strength(body["password"], operator.email, operator.name)
    step = credentials.get_pending_totp_step(operator, body["code"], now)
    codes = credentials.enroll_operator(
        body["token"], operator, password_hashing.hash_password(body["password"]), step, now
    )
    db.session.commit()
    return {"recovery_codes": codes}
