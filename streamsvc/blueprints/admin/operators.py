"""Operators and their invitations."""

import segno

from streamsvc import clock
from streamsvc.blueprints.admin.audited_resources import OPERATOR, OPERATOR_SESSIONS
from streamsvc.http.edge import Blueprint
from streamsvc.http.idempotency import idempotent
from streamsvc.http.pagination import paginate_query
from streamsvc.http.request_facts import current_request_facts
from streamsvc.models import OperatorAccount
from streamsvc.operations.accounts import accounts
from streamsvc.operations.credentials.attempts import hit_address_limit
from streamsvc.operations.operators import credentials, people
from streamsvc.operations.outbox.audited_changes import audited, created_id
from streamsvc.rules import rate_limits as limits
from streamsvc.rules.inputs import PageInput
from streamsvc.rules.refusals.access import EndUserAddressInvalid, LastAdmin
from streamsvc.rules.refusals.accounts import (
    EmailTaken,
    ReauthenticationRequired,
    TokenInvalid,
    TooManyAttempts,
    WrongCode,
)
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.rules.sign_in.inputs import OperatorChangeInput
from streamsvc.schemas.admin.operators import (
    Invitation,
    InvitedOperator,
    NewOperator,
    OperatorEnrollment,
    OperatorOut,
    OperatorPatch,
)
from streamsvc.schemas.base import PageQuery, page_of
from streamsvc.schemas.sessions.factors import RecoveryCodes
from streamsvc.security import password_hashing
from streamsvc.security.access import operator_only, public
from streamsvc.security.principals import current_operator
from streamsvc.storage.database import db

bp = Blueprint("operators", __name__, url_prefix="/v1/admin", description="Operators, their roles and invitations.")


@bp.route("/operators")
@bp.arguments(PageQuery, location="query")
@operator_only("admin")
@bp.response(200, page_of(OperatorOut))
def list_operators(query: PageInput) -> dict:
    """List operators, newest first.

    Removed operators are left out.
    """
    return paginate_query(OperatorAccount.not_removed(), OperatorAccount.id, query, "operators")


@bp.route("/operators", methods=["POST"])
@bp.arguments(NewOperator)
@operator_only("admin")
@idempotent()
@bp.errors(EmailTaken, ReauthenticationRequired)
@bp.response(201, OperatorOut)
@audited(OPERATOR, created_id, "operator_invited")
def invite_operator(body: dict) -> OperatorAccount:
    """Invite an operator by email.

    Invited operators set their own password and authenticator. A signed-in operator needs a recent
    reauthentication.
    """
    current_operator().require_recent_authentication()
    operator_id = people.invite_operator(body["email"], body["name"], body["role"], clock.now())
    return db.session.get_one(OperatorAccount, operator_id)


@bp.route("/operators/<operator_id>")
@operator_only("admin")
@bp.response(200, OperatorOut)
def get_operator(operator_id: str) -> OperatorAccount:
    """Retrieve an operator.

    Removed operators can be retrieved too: the audit log refers to operators by id.
    """
    operator = db.session.get(OperatorAccount, operator_id)
    if operator is None:
        raise NotFound
    return operator


@bp.route("/operators/<operator_id>", methods=["PATCH"])
@bp.arguments(OperatorPatch)
@operator_only("admin")
@bp.errors(LastAdmin, ReauthenticationRequired)
@bp.response(200, OperatorOut)
@audited(OPERATOR, "operator_id", "operator_changed")
def update_operator(body: OperatorChangeInput, operator_id: str) -> OperatorAccount:
    """Change an operator's name, role or status.

    Takes effect with the operator's next request. The last admin cannot be demoted or disabled: 409 `last_admin`. A
    signed-in operator needs a recent reauthentication.
    """
    current_operator().require_recent_authentication()
    operator = people.update_operator(operator_id, body, clock.now())
    db.session.commit()
    return operator


@bp.route("/operators/<operator_id>", methods=["DELETE"])
@operator_only("admin")
@bp.errors(LastAdmin, ReauthenticationRequired)
@bp.response(204)
@audited(OPERATOR, "operator_id", "operator_removed")
def delete_operator(operator_id: str) -> None:
    """Remove an operator for good.

    The operator can still be retrieved by id, to which the audit log refers. The last admin cannot be removed:
    409 `last_admin`. A signed-in operator needs a recent reauthentication.
    """
    current_operator().require_recent_authentication()
    people.remove_operator(operator_id, clock.now())
    db.session.commit()


@bp.route("/operators/<operator_id>/sessions", methods=["DELETE"])
@operator_only("admin")
@bp.response(204)
@audited(OPERATOR_SESSIONS, "operator_id", "session_ended")
def delete_operator_sessions(operator_id: str) -> None:
    """End all sessions of an operator."""
    people.revoke_operator_sessions(operator_id, clock.now())
    db.session.commit()


@bp.route("/operators/<operator_id>/reset", methods=["POST"])
@operator_only("admin")
@idempotent()
@bp.errors(LastAdmin, ReauthenticationRequired)
@bp.response(202, OperatorOut)
@audited(OPERATOR, "operator_id", "operator_reset")
def reset_operator(operator_id: str) -> OperatorAccount:
    """Reset an operator's credentials.

    Removes password and authenticator at once and emails a new invitation: operators never set each other's passwords.
    The last admin cannot be reset: 409 `last_admin`. A signed-in operator needs a recent reauthentication.
    """
    current_operator().require_recent_authentication()
    return people.reset_operator(operator_id, clock.now())


@bp.route("/invitations", methods=["POST"])
@bp.arguments(Invitation)
@public
@bp.errors(EndUserAddressInvalid, TokenInvalid, TooManyAttempts)
@bp.response(200, InvitedOperator)
def open_invitation(body: dict) -> dict:
    """Open an invitation and start its authenticator setup.

    Opening it again replaces the authenticator's secret.
    """
    hit_address_limit(limits.SECRET_BY_ADDRESS, current_request_facts())
    operator = credentials.get_invited_operator(body["token"], clock.now())
    enrollment = credentials.start_operator_totp(operator.id)
    db.session.commit()
    qr_code = segno.make(enrollment["otpauth_uri"], error="m").svg_data_uri(light="#fff", border=2)
    return enrollment | {"qr_code": qr_code} | {name: getattr(operator, name) for name in ("email", "name", "role")}


@bp.route("/invitations", methods=["PUT"])
@bp.arguments(OperatorEnrollment)
@public
@bp.errors(EndUserAddressInvalid, TokenInvalid, TooManyAttempts, WrongCode)
@bp.response(200, RecoveryCodes)
def accept_invitation(body: dict) -> dict:
    """Accept an invitation.

    Sets the password and confirms the authenticator. The recovery codes are returned only once.
    """
    hit_address_limit(limits.SECRET_BY_ADDRESS, current_request_facts())
    now = clock.now()
    operator = credentials.get_invited_operator(body["token"], now)
    accounts.check_password_strength(body["password"], operator.email, operator.name)
    step = credentials.get_pending_totp_step(operator, body["code"], now)
    codes = credentials.enroll_operator(
        body["token"], operator, password_hashing.hash_password(body["password"]), step, now
    )
    db.session.commit()
    return {"recovery_codes": codes}
