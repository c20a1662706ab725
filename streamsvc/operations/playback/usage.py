"""What was played: starts, minutes and viewers, by day or by title; and the daily upkeep of the streams' table."""

from datetime import UTC, date, datetime, timedelta

import sqlalchemy as sa

from streamsvc.models import Stream, Title
from streamsvc.operations.playback import streams
from streamsvc.storage.database import all_rows, db
from streamsvc.worker import jobs

MOST_TITLES = 100
_TOLD = (
    sa.func.count().label("starts"),
    sa.func.sum(Stream.watched_s).label("watched_s"),
    sa.func.count(Stream.profile_id.distinct()).label("profiles"),
    sa.func.count(Stream.account_id.distinct()).label("accounts"),
)
_IN_PERIOD = sa.and_(
    Stream.started_at >= sa.bindparam("since", type_=Stream.started_at.type),
    Stream.started_at < sa.bindparam("until", type_=Stream.started_at.type),
)
BY_TITLE = (
    sa.select(Stream.title_id, Title.title, *_TOLD)
    .outerjoin(Title, Title.id == Stream.title_id)
    .where(_IN_PERIOD)
    .group_by(Stream.title_id, Title.title)
    .order_by(sa.desc("watched_s"), Stream.title_id)
    .limit(MOST_TITLES)
)


def usage(since: date, until: date) -> dict:
    """{days: [{day, …}], titles: [{title_id, title, …}], total: {…}} from the day `since` to before `until`, in UTC."""
    first, last = (datetime(day.year, day.month, day.day, tzinfo=UTC) for day in (since, until))
    period = {"since": first, "until": last}
    [total] = all_rows(sa.select(*_TOLD).where(_IN_PERIOD), period)
    day = _day()
    by_day = sa.select(day.label("day"), *_TOLD).where(_IN_PERIOD).group_by(day).order_by(day)
    return {
        "days": [{"day": str(row.day), **_told(row)} for row in all_rows(by_day, period)],
        "titles": [{"title_id": r.title_id, "title": r.title, **_told(r)} for r in all_rows(BY_TITLE, period)],
        "total": _told(total),
    }


def _day():
    """The civil day in UTC on which a stream started."""
    if db.engine.dialect.name == "sqlite":
        return sa.func.date(Stream.started_at)
    return sa.cast(sa.func.timezone("UTC", Stream.started_at), sa.Date)


def _told(row) -> dict:
    return {
        "starts": row.starts,
        "minutes": int(row.watched_s or 0) // 60,
        "profiles": row.profiles,
        "accounts": row.accounts,
    }


@jobs.recurring("streams", every=timedelta(days=1))
def keep_up(payload: dict, now: datetime) -> None:
    """End the expired, forget the old."""
    streams.sweep(now)
