"""A profile's progress, watchlist and ratings."""

from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.rules.playback.progress import PlayableItem, ProgressReport
from streamsvc.storage.compiled_statements import CompiledStatement
from streamsvc.storage.database import Base, UtcTime, db, insert
from streamsvc.storage.durability import Relaxed


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
    return _merge_statement(db.engine.dialect.name).all(**_progress_row(profile_id, item, report))[0]


def save_progress_by_heartbeat(profile_id: str, item: PlayableItem, report: ProgressReport) -> None:
    """Merge a report into the profile's progress as `save_progress` does, as a relaxed write.

    The next heartbeat repeats it, and the durable end of the stream takes it to disk.
    """
    _merge_statement(db.engine.dialect.name, Relaxed.STREAM_HEARTBEAT).execute_write(
        **_progress_row(profile_id, item, report)
    )


def _progress_row(profile_id: str, item: PlayableItem, report: ProgressReport) -> dict[str, Any]:
    row: dict[str, Any] = {"profile_id": profile_id, "item_id": item.id, "title_id": item.title_id}
    return row | {"season": item.season, "episode": item.episode, **vars(report)}


@cache
def _merge_statement(dialect: str, relaxed: Relaxed | None = None) -> CompiledStatement:
    """Build the statement that merges a report; the durable one returns the resulting row."""
    columns = [column for column in Progress.__table__.c if column.name != "hidden_at"]
    statement = insert(Progress).values(
        {column.name: sa.bindparam(column.name, type_=column.type) for column in columns}
    )
    merge = _merge_on_conflict(statement)
    return CompiledStatement(merge if relaxed else merge.returning(*Progress.__table__.c), relaxed)


def _merge_on_conflict(statement: Any, **further_values: Any) -> Any:
    """Merge an inserted report with the one that exists for the profile and the item."""
    old, new = Progress, statement.excluded
    newer = _report_order(new, old, of=new) > _report_order(new, old, of=old)
    latest = {name: sa.case((newer, new[name]), else_=getattr(old, name)) for name in NEWEST_REPORT_COLUMNS}
    merged = latest | {name: _later(new[name], getattr(old, name)) for name in LATEST_TIME_COLUMNS}
    return statement.on_conflict_do_update(index_elements=["profile_id", "item_id"], set_=merged | further_values)


NEWEST_REPORT_COLUMNS = ("position_s", "duration_s", "at", "claimed_at")
LATEST_TIME_COLUMNS = ("watched_at", "restarted_at")


def _report_order(new: Any, old: Any, of: Any) -> sa.Tuple:
    """Return the sort key of reports: the time, or the players' times if both clocks run ahead; then the position."""
    both_ahead = sa.and_(new.claimed_at > new.at, old.claimed_at > old.at)
    return sa.tuple_(sa.case((both_ahead, of.claimed_at), else_=of.at), of.position_s)


def _later(a: Any, b: Any) -> sa.Case:
    """Return the later of two times, either of which may be null."""
    return sa.case((a.is_(None), b), (b.is_(None), a), (a > b, a), else_=b)


def move_profile_items(from_profile_id: str, to_profile_id: str) -> dict[str, int]:
    """Move progress, watchlist and ratings into another profile, in the caller's transaction; the newer entry wins.

    Returns how many rows of each were moved. They are deleted first, and just the deleted ones are inserted: what is
    saved meanwhile stays for the next call, and what was moved is not moved again.
    """
    progress = insert(Progress.__table__)
    progress = _merge_on_conflict(progress, hidden_at=_later(progress.excluded.hidden_at, Progress.hidden_at))
    watchlist, ratings = insert(WatchlistItem.__table__), insert(TitleRating.__table__)
    title_key = ["profile_id", "title_id"]
    added, rated = watchlist.excluded.added_at, ratings.excluded
    newest_values = {"rating": rated.rating, "rated_at": rated.rated_at}
    statements = {
        Progress: progress,
        WatchlistItem: watchlist.on_conflict_do_update(
            index_elements=title_key, set_={"added_at": added}, where=WatchlistItem.added_at < added
        ),
        TitleRating: ratings.on_conflict_do_update(
            index_elements=title_key, set_=newest_values, where=TitleRating.rated_at < rated.rated_at
        ),
    }
    return {
        model.__table__.name: _move_rows(model.__table__, statement, from_profile_id, to_profile_id)
        for model, statement in statements.items()
    }


def _move_rows(table: Any, insert_or_merge: Any, from_profile_id: str, to_profile_id: str) -> int:
    deleted = sa.delete(table).where(table.c.profile_id == from_profile_id).returning(*table.c)
    rows = [{**row._mapping, "profile_id": to_profile_id} for row in db.session.execute(deleted)]
    rows.sort(key=lambda row: row.get("item_id") or row["title_id"])  # one order of row locks for all
    if rows:
        db.session.execute(insert_or_merge, rows)
    return len(rows)
