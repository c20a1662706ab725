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


class ServiceEpoch(Base):
    """The only row: raised to end every session of the service at once. Without a row, the number is 0."""

    __tablename__ = "service_epoch"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    number: Mapped[int]


CURRENT_SERVICE_EPOCH = sa.select(sa.func.coalesce(sa.func.max(ServiceEpoch.number), 0)).scalar_subquery()


class Session(Base):
    __tablename__ = "sessions"
    __table_args__ = (
        sa.Index("ix_sessions_account_id", "account_id", "id"),
        sa.Index("ix_sessions_device_id", "device_id"),  # for the foreign key, when devices are deleted
        sa.Index(
            "ix_sessions_impersonated_by",
            "impersonated_by",
            sqlite_where=sa.text("impersonated_by IS NOT NULL"),
            postgresql_where=sa.text("impersonated_by IS NOT NULL"),
        ),
        sa.Index(
            "ix_sessions_ended_at",
            "ended_at",
            sqlite_where=sa.text("ended_at IS NOT NULL"),
            postgresql_where=sa.text("ended_at IS NOT NULL"),
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
    service_epoch: Mapped[int] = mapped_column(server_default="0")
    """The number of `ServiceEpoch` when the session began."""
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    authenticated_at: Mapped[datetime] = mapped_column(UtcTime)
    """When the viewer last authenticated; opens the window for sensitive calls."""
    pin_verified_at: Mapped[datetime | None] = mapped_column(UtcTime)
    """When the PIN of the selected profile was last entered; None if it has none, or if the PIN was changed since."""
    last_seen_at: Mapped[datetime] = mapped_column(UtcTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcTime)
    address: Mapped[str | None]
    city: Mapped[str | None]
    """Where the viewer signed in, as reported by a trusted proxy or the geographic database."""
    country: Mapped[str | None]
    latitude: Mapped[float | None] = mapped_column(sa.Double)
    longitude: Mapped[float | None] = mapped_column(sa.Double)
    radius_km: Mapped[float | None] = mapped_column(sa.Double)
    """The uncertainty of the coordinates."""
    impossible_travel: Mapped[bool] = mapped_column(default=False)
    """Whether the sign-in was too far from the one before for the time between them."""
    user_agent: Mapped[str | None]
    dpop_jkt: Mapped[str | None]
    """The thumbprint of the key that every request of the session must prove (DPoP); None for a bearer token."""
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
        """Return the conditions of a live session."""
        return (cls.ended_at.is_(None), cls.unexpired_condition(now))

    @classmethod
    def unexpired_condition(cls, now: datetime) -> sa.ColumnElement[bool]:
        """Return the condition of a session that has not expired and is of the current service epoch.

        Equivalent to `session_expires_at` in rules/sign_in/sessions.py.
        """
        classes = (
            sa.and_(cls.lifetime == name, cls.created_at > now - life.absolute, cls.last_seen_at > now - life.idle)
            for name, life in SESSION_LIFETIMES.items()
        )
        return sa.and_(sa.or_(*classes), cls.service_epoch >= CURRENT_SERVICE_EPOCH)

    @classmethod
    def is_ended(cls, session_id: str | None) -> bool:
        """Whether the session was ended before it expired, alone or with all others; False for an unknown session."""
        is_ended = sa.or_(cls.ended_at.is_not(None), cls.service_epoch < CURRENT_SERVICE_EPOCH)
        ended = sa.select(cls.id).where(cls.id == session_id, is_ended)
        return session_id is not None and db.session.scalar(ended) is not None
