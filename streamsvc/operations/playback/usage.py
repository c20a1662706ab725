"""Usage reports: starts, minutes, completions and viewers by day, by title, and by what the operator groups by."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

import sqlalchemy as sa

from streamsvc.models import Channel, Device, Stream, Title
from streamsvc.rules.refusals.requests import Invalid
from streamsvc.storage.database import db, fetch_all

MAX_TITLES = 100
MAX_GROUPS = 1_000
"""The most watched groups that a report lists."""
MAX_EXPORTED_GROUPS = 50_000
MAX_GROUPED_DAYS = 400
_USAGE_COLUMNS = (
    sa.func.count().label("starts"),
    sa.func.sum(Stream.watched_s).label("watched_s"),
    sa.func.count(Stream.completed_at).label("completions"),
    sa.func.count(Stream.profile_id.distinct()).label("profiles"),
    sa.func.count(Stream.account_id.distinct()).label("accounts"),
)
_IN_PERIOD = sa.and_(
    Stream.started_at >= sa.bindparam("since", type_=Stream.started_at.type),
    Stream.started_at < sa.bindparam("until", type_=Stream.started_at.type),
    Stream.item_id.not_like("xtr!_%", "!"),
)
_NAME = sa.func.coalesce(Title.title, Channel.name)
"""Streams of films and episodes in a period; extras are none of a title's plays."""
USAGE_BY_TITLE = (
    sa.select(Stream.title_id, _NAME.label("title"), *_USAGE_COLUMNS)
    .outerjoin(Title, Title.id == Stream.title_id)
    .outerjoin(Channel, Channel.id == Stream.title_id)
    .where(_IN_PERIOD)
    .group_by(Stream.title_id, _NAME)
    .order_by(sa.desc("watched_s"), Stream.title_id)
    .limit(MAX_TITLES)
)


def usage_report(since: date, until: date, group_by: Sequence[str] = (), is_export: bool = False) -> dict:
    """Return the usage of the days from `since` to before `until`, in UTC.

    `group_by`: some of rules/playback/inputs.py:UsageDimension. Shape: {days: [{day, …}], titles: [{title_id, title,
    …}], total: {…}}, and with `group_by` {groups: [{…}]}: the most watched ones, or in an export all. Raises Invalid
    for too many days or exported groups.
    """
    if group_by and (until - since).days > MAX_GROUPED_DAYS:
        raise Invalid(errors={"from": [f"Must be at most {MAX_GROUPED_DAYS} days before `to` with `group_by`."]})
    first, last = (datetime(day.year, day.month, day.day, tzinfo=UTC) for day in (since, until))
    period = {"since": first, "until": last}
    [total] = fetch_all(sa.select(*_USAGE_COLUMNS).where(_IN_PERIOD), period)
    day = _start_day()
    by_day = sa.select(day.label("day"), *_USAGE_COLUMNS).where(_IN_PERIOD).group_by(day).order_by(day)
    report = {
        "days": [{"day": str(row.day), **_usage_view(row)} for row in fetch_all(by_day, period)],
        "titles": [
            {"title_id": row.title_id, "title": row.title, **_usage_view(row)}
            for row in fetch_all(USAGE_BY_TITLE, period)
        ],
        "total": _usage_view(total),
    }
    return report | ({"groups": _list_groups(period, group_by, is_export)} if group_by else {})


def _list_groups(period: dict[str, datetime], group_by: Sequence[str], is_export: bool) -> list[dict]:
    """Return the usage of each combination of the dimensions that occurs, most watched first."""
    limit = MAX_EXPORTED_GROUPS if is_export else MAX_GROUPS
    rows = fetch_all(select_groups(group_by).limit(limit + 1), period)
    if is_export and len(rows) > limit:
        raise Invalid(errors={"group_by": [f"Must result in at most {limit} groups; choose fewer days or dimensions."]})
    names = [column.key for dimension in group_by for column in _dimension_columns(dimension)]
    return [_group_view(row, names) for row in rows[:limit]]


def select_groups(group_by: Sequence[str]) -> sa.Select[Any]:
    """Build the statement that selects the usage of each group within a period."""
    keys = [column for dimension in group_by for column in _dimension_columns(dimension)]
    statement = sa.select(*keys, *_USAGE_COLUMNS).select_from(Stream)
    if "device" in group_by:
        of_stream = sa.and_(Device.id == Stream.device_id, Device.account_id == Stream.account_id)
        statement = statement.outerjoin(Device, of_stream)
    if "title" in group_by:
        statement = statement.outerjoin(Title, Title.id == Stream.title_id)
        statement = statement.outerjoin(Channel, Channel.id == Stream.title_id)
    elements = [column.element for column in keys]
    order = [sa.desc("watched_s"), *(key.nulls_first() for key in elements)]
    return statement.where(_IN_PERIOD).group_by(*elements).order_by(*order)


def _dimension_columns(dimension: str) -> list[sa.Label]:
    """Return the columns that a dimension groups by, labelled with the names of the report's fields."""
    columns: dict[str, dict[str, Any]] = {
        "day": {"day": _start_day()},
        "plan": {"plan": Stream.plan},
        "country": {"country": Stream.country},
        "device": {"device_kind": Device.kind},
        "title": {"title_id": Stream.title_id, "title": _NAME},
    }
    return [sa.label(name, column) for name, column in columns[dimension].items()]


def _start_day() -> sa.ColumnElement:
    """Select the civil day in UTC on which a stream started."""
    if db.engine.dialect.name == "sqlite":
        return sa.func.date(Stream.started_at)
    return sa.cast(sa.func.timezone("UTC", Stream.started_at), sa.Date)


def _group_view(row: Any, names: Sequence[str]) -> dict:
    keys = {name: getattr(row, name) for name in names}
    return {name: str(key) if name == "day" else key for name, key in keys.items()} | _usage_view(row)


def _usage_view(row: Any) -> dict:
    return {
        "starts": row.starts,
        "minutes": int(row.watched_s or 0) // 60,
        "completions": row.completions,
        "profiles": row.profiles,
        "accounts": row.accounts,
    }
