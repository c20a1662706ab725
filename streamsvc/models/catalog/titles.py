"""titles, their records and stored JSON, and what decides who may see them."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.models.catalog import Sortable
from streamsvc.storage.database import Base, UtcTime, new_id


class Title(Base):
    """`pk` is the order of arrival and internal; `id` is public and never changes."""

    __tablename__ = "titles"
    __table_args__ = (
        sa.Index("ix_titles_sort_title", "sort_title", "pk"),
        sa.Index("ix_titles_year_key", "year_key", "pk"),
    )

    pk: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(unique=True, default=lambda: new_id("ttl"))
    external_id: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[str]
    title: Mapped[str]
    sort_title: Mapped[str] = mapped_column(Sortable)
    year: Mapped[int | None]
    year_key: Mapped[int]
    """The year, 0 if unknown; the sort key of lists."""
    runtime_s: Mapped[int | None]
    min_age: Mapped[int | None]
    age_gate: Mapped[int]
    """The lowest `max_age` of a profile that may see the title in every country: its highest minimum age, or above
    every limit if it is unrated somewhere."""
    rated_per_country: Mapped[bool] = mapped_column(server_default=sa.false())
    """Whether it has `title_age_ratings`; in all other countries, `min_age` decides."""
    rank: Mapped[int] = mapped_column(sa.BigInteger, unique=True)
    """Popularity in the high bits, `pk` in the low ones (rules/catalog/ranks.py): unique, and sorts by popularity."""
    played: Mapped[int] = mapped_column(default=0)
    """What recent plays add to the popularity in the record."""
    has_artwork: Mapped[bool]
    windowed: Mapped[bool]
    """Whether it has licence windows; a title without any is available everywhere, always."""
    plan_limited: Mapped[bool]
    added_at: Mapped[datetime] = mapped_column(UtcTime)
    updated_at: Mapped[datetime] = mapped_column(UtcTime)
    removed_at: Mapped[datetime | None] = mapped_column(UtcTime)
    """Set if removed from the catalogue; the row stays, so that a title created again gets its old id."""


class TitleRecord(Base):
    __tablename__ = "title_records"

    title_pk: Mapped[int] = mapped_column(sa.ForeignKey("titles.pk"), primary_key=True, autoincrement=False)
    body: Mapped[str] = mapped_column(sa.Text)
    """The canonical JSON of rules/catalog/record.py:encode_record."""


class TitleCard(Base):
    """A title as lists show it, as JSON; one per language, where `""` is the title's own."""

    __tablename__ = "title_cards"

    title_pk: Mapped[int] = mapped_column(sa.ForeignKey("titles.pk"), primary_key=True, autoincrement=False)
    locale: Mapped[str] = mapped_column(primary_key=True)
    body: Mapped[str] = mapped_column(sa.Text)


class TitleDetail(Base):
    """What a title's own page adds to its card, as JSON."""

    __tablename__ = "title_details"

    title_pk: Mapped[int] = mapped_column(sa.ForeignKey("titles.pk"), primary_key=True, autoincrement=False)
    body: Mapped[str] = mapped_column(sa.Text)
    media: Mapped[str | None] = mapped_column(sa.Text)
    """JSON: {"hls": url, …}; only for playback, never shown."""
    variants: Mapped[str | None] = mapped_column(sa.Text)
    """JSON: [{"path": …, "height": …}]; only for playback, never shown."""
    drm_keys: Mapped[str | None] = mapped_column(sa.Text)
    """JSON: [{"id": …, …}] of `DrmKey`; only for playback, never shown."""


class MediaFile(Base):
    """Where an item's manifest is, so that a playback token opens no other item's files.

    The primary key finds the manifests in a folder. `host` is "" for the service's own; `item` is "" for a film, and
    `season/number` for an episode.
    """

    __tablename__ = "media_files"
    __table_args__ = (sa.Index("ix_media_files_title_pk", "title_pk"),)

    host: Mapped[str] = mapped_column(primary_key=True)
    path: Mapped[str] = mapped_column(Sortable, primary_key=True)
    title_pk: Mapped[int] = mapped_column(sa.ForeignKey("titles.pk"), primary_key=True, autoincrement=False)
    item: Mapped[str] = mapped_column(primary_key=True)
    folder: Mapped[str] = mapped_column(Sortable)


class TitleWindow(Base):
    """One country of a licence window; `*` stands for every country."""

    __tablename__ = "title_windows"
    __table_args__ = (
        sa.Index("ix_title_windows_starts_at", "starts_at"),
        sa.Index("ix_title_windows_ends_at", "ends_at"),
    )

    title_pk: Mapped[int] = mapped_column(sa.ForeignKey("titles.pk"), primary_key=True, autoincrement=False)
    country: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    starts_at: Mapped[datetime | None] = mapped_column(UtcTime)
    ends_at: Mapped[datetime | None] = mapped_column(UtcTime)


class TitlePlan(Base):
    __tablename__ = "title_plans"

    title_pk: Mapped[int] = mapped_column(sa.ForeignKey("titles.pk"), primary_key=True, autoincrement=False)
    plan_code: Mapped[str] = mapped_column(primary_key=True)


class TitleAgeRating(Base):
    """The rating of one country, which decides there instead of the title's main rating."""

    __tablename__ = "title_age_ratings"

    title_pk: Mapped[int] = mapped_column(sa.ForeignKey("titles.pk"), primary_key=True, autoincrement=False)
    country: Mapped[str] = mapped_column(primary_key=True)
    label: Mapped[str]
    min_age: Mapped[int | None]
    age_gate: Mapped[int]


class CatalogState(Base):
    """A single row: the version, which every change of the catalogue increments and ETags include."""

    __tablename__ = "catalog_state"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    version: Mapped[int] = mapped_column(sa.BigInteger)
    search_version: Mapped[int] = mapped_column(default=0, server_default="0")
    """The INDEX_VERSION (rules/catalog/search.py) that built the search index."""
