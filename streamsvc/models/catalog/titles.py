"""titles, their records and ready cards, and what decides who sees them."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.models.catalog import Sortable
from streamsvc.storage.database import Base, UtcTime, new_id


class Title(Base):
    """`pk` is the order of arrival and never leaves the service; `id` does, and never changes."""

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
    """The year, 0 where there is none: what lists are ordered by."""
    runtime_s: Mapped[int | None]
    min_age: Mapped[int | None]
    age_gate: Mapped[int]
    """What a profile's max_age must reach: `min_age`, or above every limit for an unrated title."""
    rank: Mapped[int] = mapped_column(sa.BigInteger, unique=True)
    """Popularity above, `pk` below (rules/catalog/ranks.py): unique, and in the order of popularity."""
    played: Mapped[int] = mapped_column(default=0)
    """What plays of late add to the popularity that the record tells."""
    has_artwork: Mapped[bool]
    windowed: Mapped[bool]
    """Has licence windows; without any it is shown everywhere, always."""
    plan_limited: Mapped[bool]
    added_at: Mapped[datetime] = mapped_column(UtcTime)
    updated_at: Mapped[datetime] = mapped_column(UtcTime)
    removed_at: Mapped[datetime | None] = mapped_column(UtcTime)
    """Taken out of the catalogue; the row stays, so that the id is the same when the title comes back."""


class TitleRecord(Base):
    __tablename__ = "title_records"

    title_pk: Mapped[int] = mapped_column(sa.ForeignKey("titles.pk"), primary_key=True, autoincrement=False)
    body: Mapped[str] = mapped_column(sa.Text)
    """The record in the one form of rules/catalog/record.py."""


class TitleCard(Base):
    """A title as lists show it, ready to send; one for each of its languages, `""` being the title's own."""

    __tablename__ = "title_cards"

    title_pk: Mapped[int] = mapped_column(sa.ForeignKey("titles.pk"), primary_key=True, autoincrement=False)
    locale: Mapped[str] = mapped_column(primary_key=True)
    body: Mapped[str] = mapped_column(sa.Text)


class TitleDetail(Base):
    """What the page of one title has besides its card, ready to send."""

    __tablename__ = "title_details"

    title_pk: Mapped[int] = mapped_column(sa.ForeignKey("titles.pk"), primary_key=True, autoincrement=False)
    body: Mapped[str] = mapped_column(sa.Text)
    media: Mapped[str | None] = mapped_column(sa.Text)
    """JSON {"hls": url, …}: for playback alone, never shown."""


class TitleWindow(Base):
    """One country of one licence window; `*` is every country."""

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


class CatalogState(Base):
    """One row: the version that every change of the catalogue raises. ETags are made of it."""

    __tablename__ = "catalog_state"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    version: Mapped[int] = mapped_column(sa.BigInteger)
    search_version: Mapped[int] = mapped_column(default=0, server_default="0")
    """By which rules (rules/catalog/search.py) the search index was made."""
