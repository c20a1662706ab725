"""Operators as people: invited, given a role, reset, disabled, removed. Nobody chooses another's password.

Whatever takes an admin away locks all admins first, so that the last two cannot take each other away at once.
"""

from datetime import datetime

import sqlalchemy as sa

from streamsvc.models import MailedToken, OperatorAccount, OperatorCode, OperatorSession
from streamsvc.operations.operators import impersonation
from streamsvc.operations.outbox import audit, mail
from streamsvc.rules.emails import canonical_email, email_key
from streamsvc.rules.refusals.access import LastAdmin
from streamsvc.rules.refusals.accounts import EmailTaken
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.rules.sign_in.mailed_tokens import MAILED_TOKEN_LIFETIMES
from streamsvc.rules.sign_in.sessions import hash_token
from streamsvc.storage.database import db, insert, lock_row, new_id

INVITATION_KIND = "operator_invitation"


def invite_operator(email: str, name: str, role: str, now: datetime, token: str | None = None) -> str:
    """A new operator who may set a password and an authenticator, in the caller's unit of work; the id.

    The invitation goes by mail, unless the caller hands over `token` itself. Raises EmailTaken.
    """
    row = {
        "id": new_id("opr"),
        "email": canonical_email(email),
        "email_key": email_key(email),
        "name": name,
        "role": role,
        "status": "active",
        "totp_last_step": 0,
        "created_at": now,
    }
    made = insert(OperatorAccount).values(row).on_conflict_do_nothing(index_elements=["email_key"])
    if db.session.execute(made.returning(OperatorAccount.id)).first() is None:
        raise EmailTaken(detail="There is an operator with this e-mail.")
    _create_invitation(row["id"], row["email"], now, token)
    audit.record_event("operator_invited", operator=row["id"], role=role)
    return row["id"]


def update_operator(operator_id: str, changes: dict, now: datetime) -> OperatorAccount:
    """Set {name, role, status} as asked, counting from the next request. Raises NotFound, LastAdmin."""
    operator, is_last_admin = _lock_operator(operator_id)
    changed = {name: value for name, value in changes.items() if getattr(operator, name) != value}
    if is_last_admin and changed.keys() & {"role", "status"}:
        raise LastAdmin
    for name, value in changed.items():
        setattr(operator, name, value)
    if changed.keys() & {"role", "status"}:
        impersonation.revoke_impersonations(operator.id, now)
        told = f"Your access is {operator.status}, your role is {operator.role}"
        mail.enqueue_mail("operator_notice", operator.email, now, what=told)
    if operator.status == "disabled":
        _revoke_access(operator, now)
    audit.record_event("operator_changed", operator=operator.id, **changed)
    return operator


def reset_operator(operator_id: str, now: datetime, token: str | None = None) -> OperatorAccount:
    """Forget password and authenticator at once, and invite anew. Raises NotFound, LastAdmin.

    With `token`, handed over by whoever has the machine, the last admin can be helped too.
    """
    operator, is_last_admin = _lock_operator(operator_id)
    if is_last_admin and token is None:
        raise LastAdmin
    _clear_credentials(operator, now)
    _create_invitation(operator.id, operator.email, now, token)
    audit.record_event("operator_reset", operator=operator.id)
    return operator


def remove_operator(operator_id: str, now: datetime) -> None:
    """End an operator for good. The row stays, so that the audit log still tells who it was. Raises as `reset`."""
    operator, is_last_admin = _lock_operator(operator_id)
    if is_last_admin:
        raise LastAdmin
    _clear_credentials(operator, now)
    operator.status, operator.email_key = "removed", None
    audit.record_event("operator_removed", operator=operator.id)


def revoke_operator_sessions(operator_id: str, now: datetime) -> None:
    """Sign an operator out everywhere. Raises NotFound."""
    operator, _ = _lock_operator(operator_id)
    ended = OperatorSession.revoke_all(operator.id, now)
    audit.record_event("session_ended", operator=operator.id, sessions=len(ended))


def _lock_operator(operator_id: str) -> tuple[OperatorAccount, bool]:
    """The operator, locked after all admins; and whether nobody else could administer. Raises NotFound."""
    admins = OperatorAccount.lock_admins()
    operator = lock_row(OperatorAccount, operator_id)
    if operator is None or operator.status == "removed":
        raise NotFound
    return operator, admins == [operator.id]


def _create_invitation(operator_id: str, email: str, now: datetime, token: str | None) -> None:
    if token is None:
        mail.enqueue_token_mail(INVITATION_KIND, email, None, now, operator_id=operator_id)
        return
    times = {"created_at": now, "expires_at": now + MAILED_TOKEN_LIFETIMES[INVITATION_KIND]}
    kept = {
        "kind": INVITATION_KIND,
        "email": email,
        "token_hash": hash_token(token),
        "data": {"operator_id": operator_id},
    }
    db.session.add(MailedToken(**kept, **times))


def _clear_credentials(operator: OperatorAccount, now: datetime) -> None:
    operator.password_hash = operator.totp_encrypted = operator.totp_pending_encrypted = None
    db.session.execute(sa.delete(OperatorCode).where(OperatorCode.operator_id == operator.id))
    _revoke_access(operator, now)


def _revoke_access(operator: OperatorAccount, now: datetime) -> None:
    """End what is open, and withdraw what could open again."""
    OperatorSession.revoke_all(operator.id, now)
    impersonation.revoke_impersonations(operator.id, now)
    nobodys = (MailedToken.account_id.is_(None), MailedToken.kind == INVITATION_KIND)  # operators have no account
    theirs = (*nobodys, MailedToken.email == operator.email, MailedToken.used_at.is_(None))
    db.session.execute(sa.update(MailedToken).where(*theirs).values(used_at=now))
