"""Usage reports: starts, minutes and viewers by day and by title; and the daily maintenance of streams."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from streamsvc.models import Stream, Title
from streamsvc.operations.playback import streams
from streamsvc.storage.database import db, fetch_all
from streamsvc.worker import jobs

MAX_TITLES = 100
_USAGE_COLUMNS = (
    sa.func.count().label("starts"),
    sa.func.sum(Stream.watched_s).label("watched_s"),
    sa.func.count(Stream.profile_id.distinct()).label("profiles"),
    sa.func.count(Stream.account_id.distinct()).label("accounts"),
)
_IN_PERIOD = sa.and_(
    Stream.started_at >= sa.bindparam("since", type_=Stream.started_at.type),
    Stream.started_at < sa.bindparam("until", type_=Stream.started_at.type),
)
USAGE_BY_TITLE = (
    sa.select(Stream.title_id, Title.title, *_USAGE_COLUMNS)
    .outerjoin(Title, Title.id == Stream.title_id)
    .where(_IN_PERIOD)
    .group_by(Stream.title_id, Title.title)
    .order_by(sa.desc("watched_s"), Stream.title_id)
    .limit(MAX_TITLES)
)


def usage_report(since: date, until: date) -> dict:
    """Return the usage of the days from `since` to before `until`, in UTC.

    Shape: {days: [{day, …}], titles: [{title_id, title, …}], total: {…}}.
    """
    first, last = (datetime(day.year, day.month, day.day, tzinfo=UTC) for day in (since, until))
    period = {"since": first, "until": last}
    [total] = fetch_all(sa.select(*_USAGE_COLUMNS).where(_IN_PERIOD), period)
    day = _start_day()
    by_day = sa.select(day.label("day"), *_USAGE_COLUMNS).where(_IN_PERIOD).group_by(day).order_by(day)
    return {
        "days": [{"day": str(row.day), **_usage_view(row)} for row in fetch_all(by_day, period)],
        "titles": [
            {"title_id": row.title_id, "title": row.title, **_usage_view(row)}
            for row in fetch_all(USAGE_BY_TITLE, period)
        ],
        "total": _usage_view(total),
    }


def _start_day() -> sa.ColumnElement:
    """Select the civil day in UTC on which a stream started."""
    if db.engine.dialect.name == "sqlite":
        return sa.func.date(Stream.started_at)
    return sa.cast(sa.func.timezone("UTC", Stream.started_at), sa.Date)


def _usage_view(row: Any) -> dict:
    return {
        "starts": row.starts,
        "minutes": int(row.watched_s or 0) // 60,
        "profiles": row.profiles,
        "accounts": row.accounts,
    }


@jobs.recurring_job("streams", every=timedelta(days=1))
def maintain_streams(payload: dict, now: datetime) -> None:
    """End expired streams and delete old ones."""
    streams.expire_and_purge_streams(now)
