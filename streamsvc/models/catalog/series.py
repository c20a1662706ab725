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
    rights: Mapped[str | None] = mapped_column(sa.Text)
    """JSON of `PartRights`; None: as its series. What it decides for rows is also in the next three columns."""
    age_gate: Mapped[int | None]
    """That of its own age rating; None: as its series."""
    windowed: Mapped[bool] = mapped_column(default=False, server_default=sa.false())
    """Whether it has windows of its own, in `part_windows`."""
    plan_limited: Mapped[bool] = mapped_column(default=False, server_default=sa.false())
    """Whether it has plans of its own, in `episode_plans`."""
    localizations: Mapped[str | None] = mapped_column(sa.Text)
    """JSON: {"fr": {"title": …, "synopsis": …}}."""
    detail: Mapped[str | None] = mapped_column(sa.Text)
    """JSON: {"tracks": […], "external_ids": {…}, "age_rating": {…}}, without members as its series' or empty."""
    removed_at: Mapped[datetime | None] = mapped_column(UtcTime)
