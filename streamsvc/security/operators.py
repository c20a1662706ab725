"""Authenticates operators: API keys for machines, sessions for people.

They are read from the database on every request, so that a changed role, a revoked key or a disabled operator takes
effect with the next one.
"""

import sqlalchemy as sa
from flask_login import UserMixin
from sqlalchemy import orm

from streamsvc import clock
from streamsvc.models import ApiKey, OperatorAccount, OperatorSession
from streamsvc.rules.refusals.access import NotSignedIn
from streamsvc.rules.refusals.accounts import ReauthenticationRequired
from streamsvc.rules.roles import Role, api_key_role, get_role
from streamsvc.rules.sign_in.sessions import (
    LAST_SEEN_GRAIN,
    OPERATOR_LIFETIME,
    OPERATOR_SEEN_GRAIN,
    REAUTHENTICATION_WINDOW,
    hash_token,
)
from streamsvc.settings import current_settings
from streamsvc.storage.database import db, execute_write, fetch_one
from streamsvc.storage.durability import Relaxed

KEY_BY_TOKEN = sa.select(*ApiKey.__table__.c).where(
    ApiKey.token_hash == sa.bindparam("token_hash"), ApiKey.revoked_at.is_(None)
)
UPDATE_KEY_LAST_USED = (
    sa.update(ApiKey).where(ApiKey.id == sa.bindparam("key_id")).values(last_used_at=sa.bindparam("now"))
)
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
UPDATE_LAST_SEEN = (
    sa.update(OperatorSession)
    .where(OperatorSession.id == sa.bindparam("session_id"), OperatorSession.last_seen_at < sa.bindparam("now"))
    .values(last_seen_at=sa.bindparam("now"))
)


class Operator(UserMixin):
    """An authenticated operator. `id` is the actor in the audit log: `key_…` for a machine, `opr_…` for a person."""

    def __init__(self, id: str, role: Role, session: sa.Row | None = None):
        self.id = id
        self.role = role
        self.session = session
        """A person's session, a row of SESSION_BY_TOKEN; None for a machine."""
        self.csrf_token: str | None = None
        """The token that unsafe requests must carry; None for a session without a cookie."""

    @property
    def credential_id(self) -> str:
        """The id of the session or of the API key."""
        return self.session.session_id if self.session else self.id

    @property
    def own_session(self) -> sa.Row:
        """A person's session, for views that exclude machines. Raises NotSignedIn for a machine."""
        if self.session is None:
            raise NotSignedIn(presented=True)
        return self.session

    def has_scope(self, scope: str, write: bool) -> bool:
        return self.role.has_scope(scope, write)

    def require_recent_authentication(self) -> None:
        """Raise ReauthenticationRequired for a person who has not entered a code within the last ten minutes."""
        if self.session and clock.now() - self.session.authenticated_at > REAUTHENTICATION_WINDOW:
            raise ReauthenticationRequired(
                detail="Enter an authenticator code (POST /v1/admin/sessions/current/reauthentication), "
                "then retry within ten minutes."
            )


def lock_credential(session: orm.Session, operator: Operator) -> bool:
    """Lock the API key, or the session and its operator, until the transaction ends; False if it is no longer valid.

    A session is valid while its operator is active in the role that allowed the request.
    """
    if operator.session is None:
        row = sa.select(ApiKey.id).where(ApiKey.id == operator.id, ApiKey.revoked_at.is_(None))
    else:
        is_live = (OperatorSession.id == operator.credential_id, OperatorSession.ended_at.is_(None))
        is_active = (OperatorAccount.status == "active", OperatorAccount.role == operator.session.role)
        row = sa.select(OperatorSession.id).join(OperatorAccount, OperatorAccount.id == OperatorSession.operator_id)
        row = row.where(*is_live, *is_active)
    return session.execute(row.with_for_update(read=True)).first() is not None


def find_operator_by_key(token: str) -> Operator | None:
    """Find the operator of a live API key, or None."""
    key, now = fetch_one(KEY_BY_TOKEN, {"token_hash": hash_token(token)}), clock.now()
    if key is None or (key.expires_at is not None and key.expires_at <= now):
        return None
    if key.last_used_at is None or now - key.last_used_at > LAST_SEEN_GRAIN:
        execute_write(UPDATE_KEY_LAST_USED, {"key_id": key.id, "now": now}, Relaxed.API_KEY_USE)
    return Operator(key.id, api_key_role(key.scopes))


def find_operator_by_session(token: str) -> Operator | None:
    """Find the operator of a live session, with their current role, or None."""
    row, now = fetch_one(SESSION_BY_TOKEN, {"token_hash": hash_token(token)}), clock.now()
    if row is None or row.epoch < current_settings().session_epoch:
        return None
    if OPERATOR_LIFETIME.ends_at(row.created_at, row.last_seen_at) <= now + clock.set_back_by():
        return None
    if now - row.last_seen_at > OPERATOR_SEEN_GRAIN:
        execute_write(UPDATE_LAST_SEEN, {"session_id": row.session_id, "now": now}, Relaxed.SESSION_USE)
    return Operator(row.operator_id, get_role(row.role), row)


def load_new_session_operator(token: str) -> Operator:
    """Load the operator of a session that the current transaction has just created."""
    row = db.session.execute(SESSION_BY_TOKEN, {"token_hash": hash_token(token)}).one()
    return Operator(row.operator_id, get_role(row.role), row)
