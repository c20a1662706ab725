"""A profile's own rows: continue watching, next up, history and watchlist. Each is a page of one index, newest first.

They exclude titles that the profile may not see, by the same condition as the catalogue's lists. Only the history
keeps titles that are no longer licensed, since they have been watched all the same.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from streamsvc.http import pagination
from streamsvc.models import Episode, Progress, Title, TitleCard, WatchlistItem
from streamsvc.models.catalog.visibility import VISIBLE
from streamsvc.operations.catalog.reading import lists, version
from streamsvc.operations.catalog.reading.audience import Audience
from streamsvc.operations.playback.reports import progress_view
from streamsvc.rules.inputs import PageInput
from streamsvc.rules.playback.progress import INACTIVE_AFTER, STARTED_AFTER_S, STARTED_AFTER_SHARE
from streamsvc.storage.database import UtcTime, fetch_all, fetch_existing

PROFILE_ID: sa.BindParameter[str] = sa.bindparam("profile_id")
LIMIT: sa.BindParameter[int] = sa.bindparam("limit")
AFTER_AT, AFTER_ID = sa.bindparam("after_at", type_=UtcTime), sa.bindparam("after_id", type_=sa.String)
SINCE = sa.bindparam("since", type_=UtcTime)
EPISODE_COLUMNS = (
    Episode.id.label("episode_id"),
    Episode.season.label("episode_season"),
    Episode.number.label("episode_number"),
    Episode.title.label("episode_title"),
    Episode.runtime_s.label("episode_runtime_s"),
)
COUNT_KEY = "count"
PROGRESS_COLUMNS = tuple(column for column in Progress.__table__.c if column.name not in ("season", "episode"))


def finished_condition(progress: Any) -> sa.ColumnElement[bool]:
    """rules/playback/progress.py:is_finished in SQL."""
    return sa.and_(
        progress.watched_at.is_not(None),
        sa.or_(progress.restarted_at.is_(None), progress.restarted_at <= progress.watched_at),
    )


def started_condition(progress: Any) -> sa.ColumnElement[bool]:
    """rules/playback/progress.py:is_started in SQL."""
    return sa.or_(
        progress.position_s >= STARTED_AFTER_S, progress.position_s >= progress.duration_s * STARTED_AFTER_SHARE
    )


def in_progress_condition(progress: Any) -> sa.ColumnElement[bool]:
    """Started, not finished, and not hidden since the latest report."""
    return sa.and_(
        started_condition(progress),
        sa.not_(finished_condition(progress)),
        sa.or_(progress.hidden_at.is_(None), progress.hidden_at < progress.at),
    )


def _page_statements(select: sa.Select, at: Any, id_: Any) -> dict[bool | str, sa.Select]:
    """Return the statements without a cursor (key False), with a cursor (True) and of the count (COUNT_KEY)."""
    position, bound = sa.tuple_(at, id_), sa.tuple_(AFTER_AT, AFTER_ID)
    ordered = select.order_by(at.desc(), id_.desc()).limit(LIMIT)
    count = sa.select(sa.func.count()).select_from(select.with_only_columns(at).subquery())
    return {False: ordered, True: ordered.where(position < bound), COUNT_KEY: count}


_default_card = sa.and_(TitleCard.title_pk == Title.pk, TitleCard.locale == "")
_newer = sa.orm.aliased(Progress)
_watched = sa.orm.aliased(Progress)
_started = sa.orm.aliased(Progress)

_TITLES_WITH_PROGRESS = (
    sa.select(
        Title.pk,
        TitleCard.body,
        *PROGRESS_COLUMNS,
        *EPISODE_COLUMNS,
        Progress.at.label("sorted_at"),
        Progress.item_id.label("sorted_id"),
    )
    .join(Title, Title.id == Progress.title_id)
    .join(TitleCard, _default_card)
    .outerjoin(Episode, sa.and_(Episode.id == Progress.item_id, Episode.removed_at.is_(None)))
    .where(Progress.profile_id == PROFILE_ID)
)
CONTINUE_WATCHING = _page_statements(
    _TITLES_WITH_PROGRESS.where(
        VISIBLE,
        in_progress_condition(Progress),
        Progress.at > SINCE,
        sa.or_(Progress.season.is_(None), Episode.id.is_not(None)),
        sa.not_(
            sa.exists().where(
                _newer.profile_id == PROFILE_ID,
                _newer.title_id == Progress.title_id,
                sa.tuple_(_newer.at, _newer.item_id) > sa.tuple_(Progress.at, Progress.item_id),
                in_progress_condition(_newer),
            )
        ),
    ),
    Progress.at,
    Progress.item_id,
)
"""Items started and not finished; of a series only the latest episode."""
HISTORY = _page_statements(
    _TITLES_WITH_PROGRESS.where(
        Title.removed_at.is_(None), Title.age_gate <= sa.bindparam("max_age", type_=sa.Integer)
    ),
    Progress.at,
    Progress.item_id,
)


def _next_up_statements() -> dict[bool | str, sa.Select]:
    """Select, per series, the first unwatched episode after the one watched last; specials are ignored."""
    latest_first = (Progress.watched_at.desc(), Progress.season.desc(), Progress.episode.desc())
    watched = (
        sa.select(
            Progress.title_id,
            Progress.season,
            Progress.episode,
            Progress.watched_at,
            sa.func.row_number().over(partition_by=Progress.title_id, order_by=latest_first).label("position"),
        )
        .where(Progress.profile_id == PROFILE_ID, Progress.watched_at.is_not(None), Progress.season > 0)
        .subquery()
    )
    in_order = [Episode.season, Episode.number]
    later = (
        sa.select(
            Title.pk,
            *EPISODE_COLUMNS,
            watched.c.title_id,
            watched.c.watched_at,
            sa.func.row_number().over(partition_by=Title.pk, order_by=in_order).label("position"),
        )
        .join(Title, Title.id == watched.c.title_id)
        .join(Episode, Episode.title_pk == Title.pk)
        .where(
            watched.c.position == 1,
            watched.c.watched_at > SINCE,
            VISIBLE,
            sa.tuple_(*in_order) > sa.tuple_(watched.c.season, watched.c.episode),
            Episode.removed_at.is_(None),
            sa.or_(Episode.released_on.is_(None), Episode.released_on <= sa.bindparam("today", type_=sa.Date)),
            sa.not_(
                sa.exists().where(
                    _watched.profile_id == PROFILE_ID,
                    _watched.item_id == Episode.id,
                    _watched.watched_at.is_not(None),
                )
            ),
            sa.not_(
                sa.exists().where(
                    _started.profile_id == PROFILE_ID,
                    _started.title_id == watched.c.title_id,
                    in_progress_condition(_started),
                )
            ),
        )
        .subquery()
    )
    columns = [column for column in later.c if column.name != "position"]
    sorted_by = (later.c.watched_at.label("sorted_at"), later.c.title_id.label("sorted_id"))
    next_episode = (
        sa.select(later.c.pk, TitleCard.body, *columns[1:], *sorted_by)
        .join(TitleCard, sa.and_(TitleCard.title_pk == later.c.pk, TitleCard.locale == ""))
        .where(later.c.position == 1)
    )
    return _page_statements(next_episode, later.c.watched_at, later.c.title_id)


NEXT_UP = _next_up_statements()
WATCHLIST = _page_statements(
    sa.select(
        Title.pk,
        TitleCard.body,
        WatchlistItem.added_at,
        WatchlistItem.added_at.label("sorted_at"),
        WatchlistItem.title_id.label("sorted_id"),
    )
    .join(Title, Title.id == WatchlistItem.title_id)
    .join(TitleCard, _default_card)
    .where(WatchlistItem.profile_id == PROFILE_ID, VISIBLE),
    WatchlistItem.added_at,
    WatchlistItem.title_id,
)


def profile_row_json(
    statements: dict,
    name: str,
    profile_id: str,
    audience: Audience,
    query: PageInput,
    now: datetime,
    item_view: Callable[..., object],
) -> bytes:
    """Return a page of one of the rows above as JSON; `item_view(row, card)` returns an item. Raises Invalid."""
    scope = f"{name}:{profile_id}"
    after = pagination.decode_cursor(scope, query["cursor"])
    at, item_id = (datetime.fromisoformat(after[0]), after[1]) if after else (None, None)
    parameters = audience.sql_parameters() | {
        "profile_id": profile_id,
        "since": now - INACTIVE_AFTER,
        "today": now.date(),
        "limit": query["limit"] + 1,
        "after_at": at,
        "after_id": item_id,
    }
    rows = fetch_all(statements[after is not None], parameters)
    page = pagination.build_page(rows, query["limit"], scope, lambda row: [row.sorted_at.isoformat(), row.sorted_id])
    cards = lists.localized_cards(
        page["items"], audience.language, version.load_snapshot(version.current_catalog_version()[0])
    )
    page["items"] = [item_view(row, msgspec.Raw(card.encode())) for row, card in zip(page["items"], cards, strict=True)]
    if query["include_total"]:
        page["total"] = fetch_existing(statements[COUNT_KEY], parameters)[0]
    return msgspec.json.encode(page)


def watched_item_view(row: sa.Row, card: object) -> dict:
    """Return an item of "Continue watching" or of the history."""
    return {"item_id": row.item_id, "title": card, "episode": _episode_view(row), "progress": progress_view(row)}


def next_item_view(row: sa.Row, card: object) -> dict:
    """Return an item of "Next up"."""
    return {"item_id": row.episode_id, "title": card, "episode": _episode_view(row), "progress": None}


def watchlist_item_view(row: sa.Row, card: object) -> dict:
    """Return an item of the watchlist."""
    return {"item_id": row.sorted_id, "title": card, "added_at": row.added_at}


def _episode_view(row: Any) -> dict | None:
    if row.episode_id is None:
        return None
    return {
        "id": row.episode_id,
        "season": row.episode_season,
        "number": row.episode_number,
        "title": row.episode_title,
        "runtime_s": row.episode_runtime_s,
    }
