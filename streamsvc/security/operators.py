"""Who operates: a machine by its API key, or a person who signed in. Read from the database at every request.

A role that was changed, a key that was revoked and an operator who was disabled count from the very next one.
"""

import sqlalchemy as sa
from flask import current_app
from flask_login import UserMixin

from streamsvc import clock
from streamsvc.models import ApiKey, OperatorAccount, OperatorSession
from streamsvc.rules.refusals.accounts import ReauthenticationRequired
from streamsvc.rules.roles import of_key, role_named
from streamsvc.rules.sign_in.sessions import (
    LAST_SEEN_GRAIN,
    OPERATOR_LIFETIME,
    OPERATOR_SEEN_GRAIN,
    REAUTHENTICATION_WINDOW,
    hash_token,
)
from streamsvc.storage.database import affected, db, one_row

KEY_BY_TOKEN = sa.select(*ApiKey.__table__.c).where(
    ApiKey.token_hash == sa.bindparam("token_hash"), ApiKey.revoked_at.is_(None)
)
KEY_USED = sa.update(ApiKey).where(ApiKey.id == sa.bindparam("key_id")).values(last_used_at=sa.bindparam("now"))
SESSION_BY_TOKEN = (
    sa.select(
        OperatorSession.id.label("session_id"),
        OperatorSession.token_hash,
        OperatorSession.epoch,
        OperatorSession.created_at,
        OperatorSession.authenticated_at,
        OperatorSession.last_seen_at,
        OperatorAccount.id.label("operator_id"),
        OperatorAccount.email,
        OperatorAccount.name,
        OperatorAccount.role,
    )
    .join(
        OperatorAccount,
        sa.and_(OperatorAccount.id == OperatorSession.operator_id, OperatorAccount.status == "active"),
    )
    .where(OperatorSession.token_hash == sa.bindparam("token_hash"), OperatorSession.ended_at.is_(None))
)
SEEN = (
    sa.update(OperatorSession)
    .where(OperatorSession.id == sa.bindparam("session_id"), OperatorSession.last_seen_at < sa.bindparam("now"))
    .values(last_seen_at=sa.bindparam("now"))
)


class Operator(UserMixin):
    """Whoever operates. `id` is what the audit log keeps as the actor: `key_…` of a machine, `opr_…` of a person."""

    def __init__(self, id, role, session=None):
        self.id = id
        self.role = role
        self.session = session
        """A person's session, a row of SESSION_BY_TOKEN; None for a machine."""

    def may(self, scope: str, changes: bool) -> bool:
        return self.role.may(scope, changes)

    def require_recent_proof(self) -> None:
        """Raises ReauthenticationRequired where a person has shown no code within the last ten minutes."""
        if self.session and clock.now() - self.session.authenticated_at > REAUTHENTICATION_WINDOW:
            raise ReauthenticationRequired(
                detail="Show a code of your authenticator: POST /v1/admin/sessions/current/reauthentication; "
                "then repeat this within ten minutes."
            )


def by_key(token: str) -> Operator | None:
    """The machine whose live API key this is."""
    key, now = one_row(KEY_BY_TOKEN, {"token_hash": hash_token(token)}), clock.now()
    if key is None or (key.expires_at is not None and key.expires_at <= now):
        return None
    if key.last_used_at is None or now - key.last_used_at > LAST_SEEN_GRAIN:
        affected(KEY_USED, {"key_id": key.id, "now": now})
    return Operator(key.id, of_key(key.scopes))


def by_session(token: str) -> Operator | None:
    """The person whose live session's token this is, with the role that they have now."""
    row, now = one_row(SESSION_BY_TOKEN, {"token_hash": hash_token(token)}), clock.now()
    if row is None or row.epoch < current_app.extensions["settings"].session_epoch:
        return None
    if OPERATOR_LIFETIME.ends_at(row.created_at, row.last_seen_at) <= now:
        return None
    if now - row.last_seen_at > OPERATOR_SEEN_GRAIN:
        affected(SEEN, {"session_id": row.session_id, "now": now})
    return Operator(row.operator_id, role_named(row.role), row)


def in_unit_of_work(token: str) -> Operator:
    """The person whose session under this token the unit of work has just made."""
    row = db.session.execute(SESSION_BY_TOKEN, {"token_hash": hash_token(token)}).one()
    return Operator(row.operator_id, role_named(row.role), row)
