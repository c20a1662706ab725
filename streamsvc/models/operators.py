"""operators: staff, each with a role. They are separate from viewers' accounts; neither gives access to the other."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.rules.sign_in.sessions import OPERATOR_LIFETIME
from streamsvc.storage import lock_order
from streamsvc.storage.database import Base, UtcTime, db, new_id


class OperatorAccount(Base):
    __tablename__ = "operators"
    __table_args__ = (
        sa.CheckConstraint("status IN ('active', 'disabled', 'removed')", name="status"),
        sa.Index("uq_operators_email_key", "email_key", unique=True),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("opr"))
    email: Mapped[str]
    email_key: Mapped[str | None]
    """The email address in canonical form, unique among operators. None once removed, to allow a new invitation."""
    name: Mapped[str]
    role: Mapped[str]
    """The name of a role in rules/roles.py; an unknown role has no scopes."""
    status: Mapped[str] = mapped_column(default="active")
    password_hash: Mapped[str | None]
    totp_encrypted: Mapped[str | None]
    """The authenticator's encrypted secret. It is set together with the password: never one without the other."""
    totp_pending_encrypted: Mapped[str | None]
    """The encrypted secret of an authenticator that no code has confirmed yet."""
    totp_last_step: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    """The latest time step whose code was accepted: no code is accepted twice."""
    created_at: Mapped[datetime] = mapped_column(UtcTime)

    @property
    def enrolled(self) -> bool:
        """Whether a password and an authenticator are set; until then the operator cannot sign in."""
        return self.password_hash is not None and self.totp_encrypted is not None

    @classmethod
    def not_removed(cls) -> "sa.Select[OperatorAccount]":
        return sa.select(cls).where(cls.status != "removed")

    @classmethod
    def find_by_email_key(cls, email_key: str) -> "OperatorAccount | None":
        return db.session.scalar(sa.select(cls).where(cls.email_key == email_key))

    @classmethod
    def lock_admins(cls) -> list[str]:
        """Lock the active admins until the commit, so that they cannot all be removed at once; their ids."""
        lock_order.note_lock(db.session(), lock_order.Rank.ADMINS)
        is_active_admin = (cls.role == "admin", cls.status == "active", cls.totp_encrypted.is_not(None))
        return list(db.session.scalars(sa.select(cls.id).where(*is_active_admin).order_by(cls.id).with_for_update()))


class OperatorCode(Base):
    __tablename__ = "operator_codes"
    __table_args__ = (sa.Index("ix_operator_codes_operator_id", "operator_id"),)

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("opc"))
    operator_id: Mapped[str] = mapped_column(sa.ForeignKey("operators.id"))
    code_hash: Mapped[str] = mapped_column(unique=True)
    used_at: Mapped[datetime | None] = mapped_column(UtcTime)


class OperatorSession(Base):
    __tablename__ = "operator_sessions"
    __table_args__ = (sa.Index("ix_operator_sessions_operator_id", "operator_id", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("ose"))
    operator_id: Mapped[str] = mapped_column(sa.ForeignKey("operators.id"))
    token_hash: Mapped[str] = mapped_column(unique=True)
    epoch: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    authenticated_at: Mapped[datetime] = mapped_column(UtcTime)
    """When the operator last gave an authenticator code; opens the window for managing API keys and operators."""
    last_seen_at: Mapped[datetime] = mapped_column(UtcTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcTime)
    network: Mapped[str]
    """The network of the sign-in: an IPv4 address or an IPv6 /64. Networks that an operator usually signs in from have
    rate limits of their own."""
    user_agent: Mapped[str]

    @property
    def expires_at(self) -> datetime:
        return OPERATOR_LIFETIME.ends_at(self.created_at, self.last_seen_at)

    @classmethod
    def live(cls, operator_id: str, now: datetime) -> "sa.Select[OperatorSession]":
        """Select the operator's sessions that are neither revoked nor expired."""
        life = OPERATOR_LIFETIME
        is_live = (cls.ended_at.is_(None), cls.created_at > now - life.absolute, cls.last_seen_at > now - life.idle)
        return sa.select(cls).where(cls.operator_id == operator_id, *is_live)

    @classmethod
    def revoke_all(cls, operator_id: str, now: datetime, *conditions: sa.ColumnElement[bool]) -> list[str]:
        """End the operator's sessions that meet the conditions, effective from the very next request; their ids."""
        statement = (
            sa.update(cls)
            .where(cls.operator_id == operator_id, cls.ended_at.is_(None), *conditions)
            .values(ended_at=now)
            .returning(cls.id)
        )
        return list(db.session.scalars(statement))
