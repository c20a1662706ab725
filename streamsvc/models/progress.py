"""A profile's progress, plays, watchlist and ratings."""

from collections.abc import Iterable, Sequence
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
    clock_session_id: Mapped[str | None]
    """See rules/playback/progress.py:ReportTime."""
    watched_at: Mapped[datetime | None] = mapped_column(UtcTime)
    first_watched_at: Mapped[datetime | None] = mapped_column(UtcTime)
    restarted_at: Mapped[datetime | None] = mapped_column(UtcTime)
    hidden_at: Mapped[datetime | None] = mapped_column(UtcTime)
    """Hidden from "Continue watching" and "Next up" until a newer report."""


class Play(Base):
    """One viewing of an item: a stream that began to play, or what a player offline names by `play_id`.

    `completed_at`: when it first reached the end.
    """

    __tablename__ = "plays"
    __table_args__ = (sa.Index("ix_plays_started_at", "profile_id", "started_at", "id"),)

    profile_id: Mapped[str] = mapped_column(sa.ForeignKey("profiles.id", ondelete="CASCADE"), primary_key=True)
    item_id: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(primary_key=True)
    title_id: Mapped[str]
    started_at: Mapped[datetime] = mapped_column(UtcTime)
    completed_at: Mapped[datetime | None] = mapped_column(UtcTime)


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


def save_progress(profile_id: str, item: PlayableItem, report: ProgressReport, now: datetime) -> sa.Row:
    """Merge a report into the profile's progress; return the resulting row.

    A single statement, whose result does not depend on the order of reports: see rules/playback/progress.py.
    """
    row = _progress_row(profile_id, item, report, now)
    return _merge_statement(db.engine.dialect.name).all(**row)[0]


def save_heartbeat(profile_id: str, item: PlayableItem, report: ProgressReport, now: datetime) -> None:
    """Merge a report into the profile's progress as `save_progress` does, as a relaxed write.

    The next heartbeat repeats it, and the durable end of the stream takes it to disk.
    """
    row = _progress_row(profile_id, item, report, now)
    _merge_statement(db.engine.dialect.name, Relaxed.STREAM_HEARTBEAT).execute_write(**row)


def _progress_row(profile_id: str, item: PlayableItem, report: ProgressReport, now: datetime) -> dict[str, Any]:
    row: dict[str, Any] = {"profile_id": profile_id, "item_id": item.id, "title_id": item.title_id}
    row |= {"season": item.season, "episode": item.episode, "now": now, "first_watched_at": report.watched_at}
    return row | vars(report)


@cache
def _merge_statement(dialect: str, relaxed: Relaxed | None = None) -> CompiledStatement:
    """Build the statement that merges a report; the durable one returns the resulting row."""
    columns = [column for column in Progress.__table__.c if column.name != "hidden_at"]
    statement = insert(Progress).values(_parameters(columns))
    merge = _merge_on_conflict(statement, sa.bindparam("now", type_=UtcTime))
    return CompiledStatement(merge if relaxed else merge.returning(*Progress.__table__.c), relaxed)


def _parameters(columns: Iterable[sa.Column]) -> dict[str, sa.BindParameter]:
    return {column.name: sa.bindparam(column.name, type_=column.type) for column in columns}


def _merge_on_conflict(statement: Any, now: Any = None, **further_values: Any) -> Any:
    """Merge an inserted report with the one that exists for the profile and the item.

    `now`: the time of its arrival; a report of now replaces one from the future, which the service's own clock dated
    before it was set back.
    """
    old, new = Progress, statement.excluded
    same_clock = new.clock_session_id == old.clock_session_id
    newer: sa.ColumnElement[bool] = sa.case(
        (same_clock, _report_order(new, new.claimed_at) > _report_order(old, old.claimed_at)),
        else_=_report_order(new, new.at) > _report_order(old, old.at),
    )
    if now is not None:
        newer = sa.or_(newer, sa.and_(old.at > now, new.at == now))
    latest = {name: sa.case((newer, new[name]), else_=getattr(old, name)) for name in NEWEST_REPORT_COLUMNS}
    merged = latest | {name: _later(new[name], getattr(old, name)) for name in LATEST_TIME_COLUMNS}
    merged["first_watched_at"] = _earlier(new.first_watched_at, old.first_watched_at)
    return statement.on_conflict_do_update(index_elements=["profile_id", "item_id"], set_=merged | further_values)


NEWEST_REPORT_COLUMNS = ("position_s", "duration_s", "at", "claimed_at", "clock_session_id")
LATEST_TIME_COLUMNS = ("watched_at", "restarted_at")


def _report_order(report: Any, time: Any) -> sa.Tuple:
    """Return the sort key of reports: the time by which they compare, then everything else that they say."""
    return sa.tuple_(time, report.claimed_at, report.position_s, sa.func.coalesce(report.duration_s, 0))


def _later(a: Any, b: Any) -> sa.Case:
    """Return the later of two times, either of which may be null."""
    return sa.case((a.is_(None), b), (b.is_(None), a), (a > b, a), else_=b)


def _earlier(a: Any, b: Any) -> sa.Case:
    """Return the earlier of two times, either of which may be null."""
    return sa.case((a.is_(None), b), (b.is_(None), a), (a < b, a), else_=b)


def save_play(profile_id: str, item: PlayableItem, play_id: str, at: datetime, completed_at: datetime | None) -> None:
    """Record that a play was going on at a time, and whether it was complete by then. Order and repetition of calls do
    not matter."""
    row = {"profile_id": profile_id, "item_id": item.id, "title_id": item.title_id}
    _save_play_statement(db.engine.dialect.name).execute_write(
        **row, id=play_id, started_at=at, completed_at=completed_at
    )


@cache
def _save_play_statement(dialect: str) -> CompiledStatement:
    return CompiledStatement(_merge_plays(insert(Play).values(_parameters(Play.__table__.c))))


def _merge_plays(statement: Any) -> Any:
    """Merge an inserted play with the one that exists."""
    merged = {name: _earlier(statement.excluded[name], getattr(Play, name)) for name in ("started_at", "completed_at")}
    return statement.on_conflict_do_update(index_elements=["profile_id", "item_id", "id"], set_=merged)


def mark_as_watched_uncommitted(profile_id: str, items: Sequence[PlayableItem], now: datetime) -> None:
    """Record that items were watched, in the caller's transaction. Their positions stay as they are."""
    statement = insert(Progress.__table__)
    watched, first = statement.excluded.watched_at, statement.excluded.first_watched_at
    times = {"watched_at": _later(watched, Progress.watched_at)}
    times["first_watched_at"] = _earlier(first, Progress.first_watched_at)
    statement = statement.on_conflict_do_update(index_elements=["profile_id", "item_id"], set_=times)
    at = dict.fromkeys(("at", "claimed_at", "watched_at", "first_watched_at"), now)
    rows = [
        {
            "profile_id": profile_id,
            "item_id": item.id,
            "title_id": item.title_id,
            "season": item.season,
            "episode": item.episode,
            "position_s": 0,
            "duration_s": item.runtime_s,
            **at,
        }
        for item in sorted(items, key=lambda item: item.id)  # one order of row locks for all
    ]
    db.session.execute(statement, rows)


def move_profile_items(from_profile_id: str, to_profile_id: str) -> dict[str, int]:
    """Move progress, plays, watchlist and ratings into another profile, in the caller's transaction.

    The newer entry wins. Returns how many rows of each were moved. They are deleted first, and just the deleted ones
    are inserted: what is saved meanwhile stays for the next call, and what was moved is not moved again.
    """
    progress = insert(Progress.__table__)
    progress = _merge_on_conflict(progress, hidden_at=_later(progress.excluded.hidden_at, Progress.hidden_at))
    watchlist, ratings = insert(WatchlistItem.__table__), insert(TitleRating.__table__)
    title_key = ["profile_id", "title_id"]
    added, rated = watchlist.excluded.added_at, ratings.excluded
    newest_values = {"rating": rated.rating, "rated_at": rated.rated_at}
    statements = {
        Progress: progress,
        Play: _merge_plays(insert(Play.__table__)),
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
    rows.sort(
        key=lambda row: (row.get("item_id") or row["title_id"], row.get("id", ""))
    )  # one order of row locks for all
    if rows:
        db.session.execute(insert_or_merge, rows)
    return len(rows)
