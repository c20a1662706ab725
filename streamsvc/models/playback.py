"""streams: playbacks and when they expire without a heartbeat. stream_devices: the devices an account plays on.
freed_device_places: the places of those that were removed."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.storage.database import Base, UtcTime, new_id

STREAM_IS_OPEN = sa.text("ended_at IS NULL")
STREAM_HAS_ENDED = sa.text("ended_at IS NOT NULL")


class Stream(Base):
    """One playback. It is live while it is open and unexpired and its session is live.

    One index allows one open stream per device and item, one finds all open streams, one an account's open and ended
    ones, one those that started on a day, one those that ended lately; a heartbeat changes none of them. Profile,
    session and device are no foreign keys, since they may be deleted before the stream.
    """

    __tablename__ = "streams"
    __table_args__ = (
        sa.Index(
            "uq_streams_open_item_on_device",
            "account_id",
            "device_id",
            "item_id",
            unique=True,
            sqlite_where=STREAM_IS_OPEN,
            postgresql_where=STREAM_IS_OPEN,
        ),
        sa.Index("ix_streams_account_id", "account_id", "ended_at", "id"),
        sa.Index("ix_streams_open_id", "id", sqlite_where=STREAM_IS_OPEN, postgresql_where=STREAM_IS_OPEN),
        sa.Index("ix_streams_started_at", "started_at"),
        sa.Index("ix_streams_ended_at", "ended_at", sqlite_where=STREAM_HAS_ENDED, postgresql_where=STREAM_HAS_ENDED),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("str"))
    account_id: Mapped[str] = mapped_column(sa.ForeignKey("accounts.id"))
    profile_id: Mapped[str]
    session_id: Mapped[str]
    device_id: Mapped[str]
    title_id: Mapped[str]
    item_id: Mapped[str]
    """The film itself, or the episode or the extra of `title_id`."""
    takes_slot: Mapped[bool] = mapped_column(default=True, server_default=sa.true())
    """Whether it counts towards the limits of streams and devices; a trailer does not."""
    plan: Mapped[str | None]
    """The code of the plan under which it started; None without a subscription."""
    country: Mapped[str | None]
    max_height: Mapped[int | None]
    media_scope: Mapped[str | None] = mapped_column(sa.Text)
    """JSON of `MediaScope`: what its playback tokens open."""
    state: Mapped[str]
    position_s: Mapped[int]
    watched_s: Mapped[int]
    """The seconds actually played, as reported by heartbeats."""
    started_at: Mapped[datetime] = mapped_column(UtcTime)
    seen_at: Mapped[datetime] = mapped_column(UtcTime)
    expires_at: Mapped[datetime] = mapped_column(UtcTime)
    claimed_at: Mapped[datetime | None] = mapped_column(UtcTime)
    """The time of the latest heartbeat by the player's clock."""
    played_at: Mapped[datetime | None] = mapped_column(UtcTime)
    """When playing began: a start that fails never gets there."""
    completed_at: Mapped[datetime | None] = mapped_column(UtcTime)
    """When the end of the item was reached."""
    active_at: Mapped[datetime | None] = mapped_column(UtcTime)
    """When the viewer last did something, as far as the player's heartbeats say; None: only started it."""
    asked_at: Mapped[datetime | None] = mapped_column(UtcTime)
    """Since when the viewer is asked whether they are still watching."""
    ended_at: Mapped[datetime | None] = mapped_column(UtcTime)
    end_reason: Mapped[str | None]


class StreamDevice(Base):
    """A device that an account plays on."""

    __tablename__ = "stream_devices"

    account_id: Mapped[str] = mapped_column(sa.ForeignKey("accounts.id"), primary_key=True)
    device_id: Mapped[str] = mapped_column(primary_key=True)
    first_played_at: Mapped[datetime] = mapped_column(UtcTime)
    last_played_at: Mapped[datetime] = mapped_column(UtcTime)


class FreedDevicePlace(Base):
    """The place of a device that was removed: when it becomes, or became, free for another device."""

    __tablename__ = "freed_device_places"
    __table_args__ = (
        sa.Index("ix_freed_device_places_account_id", "account_id"),
        sa.Index("ix_freed_device_places_freed_at", "freed_at"),
    )

    device_id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(sa.ForeignKey("accounts.id"))
    kind: Mapped[str]
    freed_at: Mapped[datetime] = mapped_column(UtcTime)
