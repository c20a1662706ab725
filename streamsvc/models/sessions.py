"""sessions: one row per signed-in device. devices: what a viewer signs in with. Only hashes of tokens are kept."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.database import Base, UtcTime, new_id


class Device(Base):
    __tablename__ = "devices"
    __table_args__ = (sa.Index("ix_devices_account_id", "account_id", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("dev"))
    account_id: Mapped[str] = mapped_column(sa.ForeignKey("accounts.id"))
    name: Mapped[str]
    kind: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    last_seen_at: Mapped[datetime] = mapped_column(UtcTime)


class Session(Base):
    __tablename__ = "sessions"
    __table_args__ = (sa.Index("ix_sessions_account_id", "account_id", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("ses"))
    account_id: Mapped[str] = mapped_column(sa.ForeignKey("accounts.id"))
    device_id: Mapped[str] = mapped_column(sa.ForeignKey("devices.id"))
    profile_id: Mapped[str | None] = mapped_column(sa.ForeignKey("profiles.id"))
    """The profile that is watching."""
    token_hash: Mapped[str] = mapped_column(unique=True)
    lifetime: Mapped[str]
    """The class of lifetimes in rules/sessions.py: a change of policy counts at once."""
    epoch: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    authenticated_at: Mapped[datetime] = mapped_column(UtcTime)
    """When the viewer last proved who they are: opens the window for sensitive calls."""
    last_seen_at: Mapped[datetime] = mapped_column(UtcTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcTime)
    address: Mapped[str | None]
    user_agent: Mapped[str | None]
