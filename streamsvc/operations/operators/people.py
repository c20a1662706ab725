"""Operator accounts: invitations, roles, resets, disabling and removal. Operators choose their passwords themselves.

Every change that can remove an admin locks all admins first, so that the last two cannot remove each other at once.
"""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from streamsvc.models import MailedToken, OperatorAccount, OperatorCode
from streamsvc.operations.credentials import sessions
from streamsvc.operations.operators import impersonation
from streamsvc.operations.outbox import audit, mail
from streamsvc.rules.emails import canonical_email, email_key
from streamsvc.rules.refusals.access import LastAdmin
from streamsvc.rules.refusals.accounts import EmailTaken
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.rules.sign_in.inputs import OperatorChangeInput
from streamsvc.rules.sign_in.mailed_tokens import MAILED_TOKEN_LIFETIMES
from streamsvc.rules.sign_in.sessions import hash_token
from streamsvc.storage import session_guard
from streamsvc.storage.database import db, insert, lock_row, new_id

INVITATION_KIND = "operator_invitation"


def invite_operator(email: str, name: str, role: str, now: datetime, token: str | None = None) -> str:
    """Create an operator with an invitation to set a password and an authenticator; returns the operator's id.

    In the caller's transaction. The invitation is mailed, unless the caller passes on `token` itself. Raises
    EmailTaken.
    """
    operator_id, address = new_id("opr"), canonical_email(email)
    row = {
        "id": operator_id,
        "email": address,
        "email_key": email_key(email),
        "name": name,
        "role": role,
        "status": "active",
        "totp_last_step": 0,
        "created_at": now,
    }
    statement = insert(OperatorAccount).values(row).on_conflict_do_nothing(index_elements=["email_key"])
    if db.session.execute(statement.returning(OperatorAccount.id)).first() is None:
        raise EmailTaken(detail="There is already an operator with this email address.")
    _create_invitation(operator_id, address, now, token)
    audit.record_event("operator_invited", operator=operator_id, role=role)
    return operator_id


def update_operator(operator_id: str, changes: OperatorChangeInput, now: datetime) -> OperatorAccount:
    """Change any of {name, role, status}, effective from the operator's next request. Raises NotFound, LastAdmin."""
    operator, is_last_admin = _lock_operator(operator_id)
    changed: dict[str, Any] = {name: value for name, value in changes.items() if getattr(operator, name) != value}
    if is_last_admin and changed.keys() & {"role", "status"}:
        raise LastAdmin
    for name, value in changed.items():
        setattr(operator, name, value)
    if changed.keys() & {"role", "status"}:
        session_guard.note_ended_credentials([operator.id])
        sessions.end_impersonations(operator.id, now)
        notice = f"Your access is {operator.status}, your role is {operator.role}"
        mail.enqueue_mail("operator_notice", operator.email, now, what=notice)
    if operator.status == "disabled":
        _revoke_access(operator, now)
    audit.record_event("operator_changed", operator=operator.id, **changed)
    return operator


def reset_operator(operator_id: str, now: datetime, token: str | None = None) -> OperatorAccount:
    """Delete the operator's password and authenticator, and create a new invitation. Raises NotFound, LastAdmin.

    Only with `token`, which the command line passes on, can the last admin be reset.
    """
    operator, is_last_admin = _lock_operator(operator_id)
    if is_last_admin and token is None:
        raise LastAdmin
    _clear_credentials(operator, now)
    _create_invitation(operator.id, operator.email, now, token)
    audit.record_event("operator_reset", operator=operator.id)
    return operator


def remove_operator(operator_id: str, now: datetime) -> None:
    """Remove an operator for good. The row stays, for the audit log. Raises NotFound, LastAdmin."""
    operator, is_last_admin = _lock_operator(operator_id)
    if is_last_admin:
        raise LastAdmin
    _clear_credentials(operator, now)
    operator.status, operator.email_key = "removed", None
    audit.record_event("operator_removed", operator=operator.id)


def revoke_operator_sessions(operator_id: str, now: datetime) -> None:
    """End all sessions of an operator. Raises NotFound."""
    operator, _ = _lock_operator(operator_id)
    ended = impersonation.end_operator_sessions(operator.id, now)
    audit.record_event("session_ended", operator=operator.id, sessions=len(ended))


def _lock_operator(operator_id: str) -> tuple[OperatorAccount, bool]:
    """Lock all admins, then the operator; the operator, and whether they are the only admin. Raises NotFound."""
    admins = OperatorAccount.lock_admins()
    operator = lock_row(OperatorAccount, operator_id)
    if operator is None or operator.status == "removed":
        raise NotFound
    return operator, admins == [operator.id]


def _create_invitation(operator_id: str, email: str, now: datetime, token: str | None) -> None:
    """Enqueue an invitation mail, or store the invitation of the given token."""
    if token is None:
        mail.enqueue_token_mail(INVITATION_KIND, email, None, now, operator_id=operator_id)
        return
    invitation = MailedToken(kind=INVITATION_KIND, email=email, token_hash=hash_token(token), created_at=now)
    invitation.data = {"operator_id": operator_id}
    invitation.expires_at = now + MAILED_TOKEN_LIFETIMES[INVITATION_KIND]
    db.session.add(invitation)


def _clear_credentials(operator: OperatorAccount, now: datetime) -> None:
    operator.password_hash = operator.totp_encrypted = operator.totp_pending_encrypted = None
    db.session.execute(sa.delete(OperatorCode).where(OperatorCode.operator_id == operator.id))
    _revoke_access(operator, now)


def _revoke_access(operator: OperatorAccount, now: datetime) -> None:
    """End the operator's sessions and impersonations, and revoke their open invitations."""
    impersonation.end_operator_sessions(operator.id, now)
    sessions.end_impersonations(operator.id, now)
    is_open_invitation = (
        MailedToken.account_id.is_(None),  # invitations belong to no viewer's account
        MailedToken.kind == INVITATION_KIND,
        MailedToken.email == operator.email,
        MailedToken.used_at.is_(None),
    )
    db.session.execute(sa.update(MailedToken).where(*is_open_invitation).values(used_at=now))
