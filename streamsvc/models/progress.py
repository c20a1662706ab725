"""A profile's progress, watchlist and ratings."""

from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.rules.playback.progress import PlayableItem, ProgressReport
from streamsvc.storage.compiled_statements import CompiledStatement
from streamsvc.storage.database import Base, UtcTime, db, insert


class Progress(Base):
    """A profile's progress in a film or an episode. `season` and `episode` remain after the episode is removed."""

    __tablename__ = "progress"
    __table_args__ = (
        sa.Index("ix_progress_at", "profile_id", "at", "item_id"),
        sa.Index("ix_progress_title_id", "profile_id", "title_id"),
    )

    profile_id: Mapped[str] = mapped_column(sa.ForeignKey("profiles.id", ondelete="CASCADE"), primary_key=True)
    item_id: Mapped[str] = mapped_column(primary_key=True)
    title_id: Mapped[str]
    season: Mapped[int | None]
    episode: Mapped[int | None]
    position_s: Mapped[int]
    duration_s: Mapped[int | None]
    at: Mapped[datetime] = mapped_column(UtcTime)
    claimed_at: Mapped[datetime] = mapped_column(UtcTime)
    watched_at: Mapped[datetime | None] = mapped_column(UtcTime)
    restarted_at: Mapped[datetime | None] = mapped_column(UtcTime)
    hidden_at: Mapped[datetime | None] = mapped_column(UtcTime)
    """Hidden from "Continue watching" until a newer report."""


class WatchlistItem(Base):
    """A title on a profile's watchlist."""

    __tablename__ = "watchlist"
    __table_args__ = (sa.Index("ix_watchlist_added_at", "profile_id", "added_at", "title_id"),)

    profile_id: Mapped[str] = mapped_column(sa.ForeignKey("profiles.id", ondelete="CASCADE"), primary_key=True)
    title_id: Mapped[str] = mapped_column(primary_key=True)
    added_at: Mapped[datetime] = mapped_column(UtcTime)


class TitleRating(Base):
    """A profile's rating of a title, "up" or "down"."""

    __tablename__ = "ratings"

    profile_id: Mapped[str] = mapped_column(sa.ForeignKey("profiles.id", ondelete="CASCADE"), primary_key=True)
    title_id: Mapped[str] = mapped_column(primary_key=True)
    rating: Mapped[str]
    rated_at: Mapped[datetime] = mapped_column(UtcTime)


def save_progress(profile_id: str, item: PlayableItem, report: ProgressReport) -> sa.Row:
    """Merge a report into the profile's progress; return the resulting row.

    A single statement, whose result does not depend on the order of reports: see rules/playback/progress.py.
    """
    row: dict[str, Any] = {"profile_id": profile_id, "item_id": item.id, "title_id": item.title_id}
    row |= {"season": item.season, "episode": item.episode, **vars(report)}
    return _merge_statement(db.engine.dialect.name).all(**row)[0]


@cache
def _merge_statement(dialect: str) -> CompiledStatement:
    columns = [column for column in Progress.__table__.c if column.name != "hidden_at"]
    old = Progress
    statement = insert(Progress).values(
        {column.name: sa.bindparam(column.name, type_=column.type) for column in columns}
    )
    new = statement.excluded
    newer = _report_order(new, old, of=new) > _report_order(new, old, of=old)
    latest = {name: sa.case((newer, new[name]), else_=getattr(old, name)) for name in NEWEST_REPORT_COLUMNS}
    merged = latest | {name: _later(new[name], getattr(old, name)) for name in LATEST_TIME_COLUMNS}
    statement = statement.on_conflict_do_update(index_elements=["profile_id", "item_id"], set_=merged)
    return CompiledStatement(statement.returning(*Progress.__table__.c))


NEWEST_REPORT_COLUMNS = ("position_s", "duration_s", "at", "claimed_at")
LATEST_TIME_COLUMNS = ("watched_at", "restarted_at")


def _report_order(new: Any, old: Any, of: Any) -> sa.Tuple:
    """Return the sort key of reports: the time, or the players' times if both clocks run ahead; then the position."""
    both_ahead = sa.and_(new.claimed_at > new.at, old.claimed_at > old.at)
    return sa.tuple_(sa.case((both_ahead, of.claimed_at), else_=of.at), of.position_s)


def _later(a: Any, b: Any) -> sa.Case:
    """Return the later of two times, either of which may be null."""
    return sa.case((a.is_(None), b), (b.is_(None), a), (a > b, a), else_=b)
