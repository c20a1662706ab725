"""extras of titles, and the windows and plans that episodes and extras have of their own.

In `item`, an episode is `season/number`, and an extra its id, as in MediaFile.
"""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.storage.database import Base, UtcTime, new_id


class Extra(Base):
    """A trailer or bonus material. Identified by `key` within its title, so that its id survives every import."""

    __tablename__ = "extras"
    __table_args__ = (sa.UniqueConstraint("title_pk", "key"),)

    pk: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(unique=True, default=lambda: new_id("xtr"))
    title_pk: Mapped[int] = mapped_column(sa.ForeignKey("titles.pk"))
    key: Mapped[str]
    """rules/catalog/parts.py:extra_keys."""
    position: Mapped[int]
    kind: Mapped[str]
    title: Mapped[str]
    runtime_s: Mapped[int | None]
    detail: Mapped[str] = mapped_column(sa.Text)
    """JSON: {"artwork": […], "tracks": […], "age_rating": {…}}, the last without `age_rating` as its title's."""
    rights: Mapped[str | None] = mapped_column(sa.Text)
    """JSON of `PartRights`; None: as its title."""
    media: Mapped[str | None] = mapped_column(sa.Text)
    """JSON: {"hls": url, …}; only for playback, never shown."""
    variants: Mapped[str | None] = mapped_column(sa.Text)
    """JSON: [{"path": …, "height": …}]; only for playback, never shown."""
    drm_keys: Mapped[str | None] = mapped_column(sa.Text)
    """JSON: [{"id": …, …}] of `DrmKey`; only for playback, never shown."""
    removed_at: Mapped[datetime | None] = mapped_column(UtcTime)


class PartWindow(Base):
    """One country of a licence window of an episode or an extra; `*` stands for every country."""

    __tablename__ = "part_windows"
    __table_args__ = (
        sa.Index("ix_part_windows_starts_at", "starts_at"),
        sa.Index("ix_part_windows_ends_at", "ends_at"),
    )

    title_pk: Mapped[int] = mapped_column(sa.ForeignKey("titles.pk"), primary_key=True, autoincrement=False)
    item: Mapped[str] = mapped_column(primary_key=True)
    country: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    starts_at: Mapped[datetime | None] = mapped_column(UtcTime)
    ends_at: Mapped[datetime | None] = mapped_column(UtcTime)


class EpisodePlan(Base):
    """A plan that opens an episode, where its plans are not those of its series."""

    __tablename__ = "episode_plans"

    title_pk: Mapped[int] = mapped_column(sa.ForeignKey("titles.pk"), primary_key=True, autoincrement=False)
    item: Mapped[str] = mapped_column(primary_key=True)
    plan_code: Mapped[str] = mapped_column(primary_key=True)
