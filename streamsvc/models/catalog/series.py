"""seasons and episodes. Rows are identified by their numbers, so their ids survive every import."""

from datetime import date, datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.storage.database import Base, UtcTime, new_id


class Season(Base):
    __tablename__ = "seasons"
    __table_args__ = (sa.UniqueConstraint("title_pk", "number"),)

    pk: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(unique=True, default=lambda: new_id("sea"))
    title_pk: Mapped[int] = mapped_column(sa.ForeignKey("titles.pk"))
    number: Mapped[int]
    title: Mapped[str | None]
    synopsis: Mapped[str | None] = mapped_column(sa.Text)
    artwork: Mapped[str | None] = mapped_column(sa.Text)
    """JSON, as the API shows it."""
    removed_at: Mapped[datetime | None] = mapped_column(UtcTime)


class Episode(Base):
    __tablename__ = "episodes"
    __table_args__ = (sa.UniqueConstraint("title_pk", "season", "number"),)

    pk: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(unique=True, default=lambda: new_id("epi"))
    title_pk: Mapped[int] = mapped_column(sa.ForeignKey("titles.pk"))
    season: Mapped[int]
    number: Mapped[int]
    title: Mapped[str | None]
    synopsis: Mapped[str | None] = mapped_column(sa.Text)
    runtime_s: Mapped[int | None]
    released_on: Mapped[date | None]
    markers: Mapped[str | None] = mapped_column(sa.Text)
    """JSON: {"credits_s": 2600, …}."""
    artwork: Mapped[str | None] = mapped_column(sa.Text)
    media: Mapped[str | None] = mapped_column(sa.Text)
    """JSON: {"hls": url, …}; only for playback, never shown."""
    variants: Mapped[str | None] = mapped_column(sa.Text)
    """JSON: [{"path": …, "height": …}]; only for playback, never shown."""
    drm_keys: Mapped[str | None] = mapped_column(sa.Text)
    """JSON: [{"id": …, …}] of `DrmKey`; only for playback, never shown."""
    removed_at: Mapped[datetime | None] = mapped_column(UtcTime)
