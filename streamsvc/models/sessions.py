"""sessions: one row per sign-in. devices: the devices that viewers sign in on. Only hashes of tokens are stored."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from streamsvc.rules.sign_in.sessions import SESSION_LIFETIMES, impersonation_view, session_expires_at
from streamsvc.storage.database import Base, UtcTime, db, new_id
from streamsvc.storage.owned import OwnedByAccount


class Device(OwnedByAccount, Base):
    __tablename__ = "devices"
    __table_args__ = (sa.Index("ix_devices_account_id", "account_id", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("dev"))
    account_id: Mapped[str] = mapped_column(sa.ForeignKey("accounts.id"))
    name: Mapped[str]
    kind: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    last_seen_at: Mapped[datetime] = mapped_column(UtcTime)
    removed_at: Mapped[datetime | None] = mapped_column(UtcTime)

    @classmethod
    def visible_conditions(cls) -> tuple[sa.ColumnElement[bool], ...]:
        return (cls.removed_at.is_(None),)


class Session(Base):
    __tablename__ = "sessions"
    __table_args__ = (
        sa.Index("ix_sessions_account_id", "account_id", "id"),
        sa.Index(
            "ix_sessions_impersonated_by",
            "impersonated_by",
            sqlite_where=sa.text("impersonated_by IS NOT NULL"),
            postgresql_where=sa.text("impersonated_by IS NOT NULL"),
        ),
        sa.Index(
            "ix_sessions_profile_id",
            "profile_id",
            sqlite_where=sa.text("profile_id IS NOT NULL"),
            postgresql_where=sa.text("profile_id IS NOT NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("ses"))
    account_id: Mapped[str] = mapped_column(sa.ForeignKey("accounts.id"))
    device_id: Mapped[str] = mapped_column(sa.ForeignKey("devices.id"))
    profile_id: Mapped[str | None] = mapped_column(sa.ForeignKey("profiles.id"))
    """The selected profile."""
    token_hash: Mapped[str] = mapped_column(unique=True)
    lifetime: Mapped[str]
    """A key of SESSION_LIFETIMES in rules/sign_in/sessions.py, so that a change of policy takes effect at once."""
    epoch: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    authenticated_at: Mapped[datetime] = mapped_column(UtcTime)
    """When the viewer last authenticated; opens the window for sensitive calls."""
    last_seen_at: Mapped[datetime] = mapped_column(UtcTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcTime)
    address: Mapped[str | None]
    city: Mapped[str | None]
    """Where the viewer signed in, as reported by a trusted proxy."""
    user_agent: Mapped[str | None]
    method: Mapped[str | None]
    """How the viewer signed in: `sign_up`, `password`, `passkey`, `magic_link`, `device_code`, the name of a provider;
    None for older sessions and impersonations."""
    added_by_session_id: Mapped[str | None]
    """The session that approved this one's device code, or the operator's session that began an impersonation. Not a
    foreign key: old sessions are purged."""
    impersonated_by: Mapped[str | None]
    """The id of the operator or API key of a read-only impersonation session; None for the owner's own."""
    impersonation_reason: Mapped[str | None]

    device: Mapped[Device] = relationship(lazy="joined", innerjoin=True)

    @property
    def expires_at(self) -> datetime:
        return session_expires_at(self.lifetime, self.created_at, self.last_seen_at)

    @property
    def impersonation(self) -> dict | None:
        """{operator, reason} of an impersonation session, or None."""
        return impersonation_view(self.impersonated_by, self.impersonation_reason)

    @classmethod
    def live(cls, account_id: str, now: datetime) -> "sa.Select[Session]":
        """Select the account's sessions that are neither revoked nor expired."""
        return sa.select(cls).where(cls.account_id == account_id, *cls.live_conditions(now))

    @classmethod
    def live_conditions(cls, now: datetime) -> tuple:
        """Return the conditions of a live session, equivalent to `session_expires_at` in rules/sign_in/sessions.py."""
        classes = (
            sa.and_(cls.lifetime == name, cls.created_at > now - life.absolute, cls.last_seen_at > now - life.idle)
            for name, life in SESSION_LIFETIMES.items()
        )
        return (cls.ended_at.is_(None), sa.or_(*classes))

    @classmethod
    def is_ended(cls, session_id: str | None) -> bool:
        """Whether the session was ended before it expired; False for an unknown session."""
        ended = sa.select(cls.id).where(cls.id == session_id, cls.ended_at.is_not(None))
        return session_id is not None and db.session.scalar(ended) is not None

    @classmethod
    def revoke_all(cls, account_id: str, now: datetime, *conditions: sa.ColumnElement[bool]) -> list[str]:
        """End the account's sessions that meet the conditions, effective from the very next request; their ids."""
        statement = (
            sa.update(cls)
            .where(cls.account_id == account_id, cls.ended_at.is_(None), *conditions)
            .values(ended_at=now)
            .returning(cls.id)
        )
        return list(db.session.scalars(statement))
