"""Live channels, their programmes, and where their manifests are."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.models.catalog import Sortable
from streamsvc.storage.database import Base, UtcTime, new_id


class Channel(Base):
    """`id` is public and never changes. The row of a removed channel stays, so that it gets its id back."""

    __tablename__ = "channels"
    __table_args__ = (
        sa.Index("ix_channels_position", "position", "pk"),
        sa.Index("ix_channels_guide_key", "guide_key"),
    )

    pk: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(unique=True, default=lambda: new_id("chn"))
    external_id: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    position: Mapped[int]
    """The sort key of lists: the number, or above all numbers."""
    age_gate: Mapped[int]
    """The lowest `max_age` of a profile that may see the channel, as Title.age_gate."""
    guide_key: Mapped[str]
    """The channel's id in XMLTV guides."""
    body: Mapped[str] = mapped_column(sa.Text)
    """The canonical JSON of rules/catalog/channels.py:encode_channel."""
    updated_at: Mapped[datetime] = mapped_column(UtcTime)
    removed_at: Mapped[datetime | None] = mapped_column(UtcTime)


class ChannelMediaFile(Base):
    """Where a channel's manifest is, as MediaFile says it of titles: no token of another item opens it."""

    __tablename__ = "channel_media_files"
    __table_args__ = (sa.Index("ix_channel_media_files_channel_pk", "channel_pk"),)

    host: Mapped[str] = mapped_column(primary_key=True)
    path: Mapped[str] = mapped_column(Sortable, primary_key=True)
    channel_pk: Mapped[int] = mapped_column(sa.ForeignKey("channels.pk"), primary_key=True, autoincrement=False)


class Programme(Base):
    """What a channel broadcasts at a time. `id` follows from the channel and `starts_at`, so it survives every import.

    At any time at most one programme of a channel is on.
    """

    __tablename__ = "programmes"

    channel_pk: Mapped[int] = mapped_column(sa.ForeignKey("channels.pk"), primary_key=True, autoincrement=False)
    starts_at: Mapped[datetime] = mapped_column(UtcTime, primary_key=True)
    ends_at: Mapped[datetime] = mapped_column(UtcTime)
    id: Mapped[str] = mapped_column(unique=True)
    min_age: Mapped[int | None]
    """That of its rating; above every limit for a rating that is unknown. Without a rating, that of `title_id` when the
    guide was imported; None if that has none either."""
    title_id: Mapped[str | None]
    """The title of the catalogue that is broadcast, if it is known."""
    body: Mapped[str] = mapped_column(sa.Text)
    """The canonical JSON of rules/catalog/programmes.py:encode_programme."""
