"""The statements of a profile's rows: continue watching, history, plays and watchlist; and their conditions.

Each is a page of one index, newest first. They exclude titles that the profile may not see, by the same condition as
the catalogue's lists, and episodes by their own rights. Only the history keeps titles that are no longer licensed,
since they have been watched all the same.
"""

from typing import Any

import sqlalchemy as sa

from streamsvc.http.pagination import bounded_count
from streamsvc.models import Channel, Episode, Play, Programme, Progress, Title, TitleCard, WatchlistItem
from streamsvc.models.catalog.visibility import (
    BY_TITLE_RULES,
    VISIBLE,
    WITHIN_MAX_AGE,
    Visibility,
    allowed_by_age,
    episode_visible,
)
from streamsvc.storage.database import UtcTime

PROFILE_ID: sa.BindParameter[str] = sa.bindparam("profile_id")
LIMIT: sa.BindParameter[int] = sa.bindparam("limit")
AFTER_AT, AFTER_ID = sa.bindparam("after_at", type_=UtcTime), sa.bindparam("after_id", type_=sa.String)
SINCE = sa.bindparam("since", type_=UtcTime)
RESUME_AFTER_S = sa.bindparam("resume_after_s", type_=sa.Integer)
RESUME_AFTER_PERCENT = sa.bindparam("resume_after_percent", type_=sa.Integer)
ITEM_ID = sa.bindparam("item_id", type_=sa.String)
HIDDEN_ITEMS = sa.bindparam("hidden_items", type_=sa.Text)
EPISODE_COLUMNS = (
    Episode.id.label("episode_id"),
    Episode.season.label("episode_season"),
    Episode.number.label("episode_number"),
    Episode.title.label("episode_title"),
    Episode.runtime_s.label("episode_runtime_s"),
    Episode.localizations.label("episode_localizations"),
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
    share = progress.position_s * 100 >= progress.duration_s * RESUME_AFTER_PERCENT
    return sa.or_(progress.position_s >= RESUME_AFTER_S, share)


def unfinished_condition(progress: Any) -> sa.ColumnElement[bool]:
    """Started and not finished."""
    return sa.and_(started_condition(progress), sa.not_(finished_condition(progress)))


def shown_condition(progress: Any) -> sa.ColumnElement[bool]:
    """Not hidden since the latest report."""
    return sa.or_(progress.hidden_at.is_(None), progress.hidden_at < progress.at)


def in_progress_condition(progress: Any) -> sa.ColumnElement[bool]:
    """Started, not finished, and not hidden since the latest report."""
    return sa.and_(unfinished_condition(progress), shown_condition(progress))


def page_statements(select: sa.Select, at: Any, id_: Any) -> dict[bool | str, sa.Select]:
    """Return the statements without a cursor (key False), with a cursor (True) and of the count (COUNT_KEY)."""
    position, bound = sa.tuple_(at, id_), sa.tuple_(AFTER_AT, AFTER_ID)
    ordered = select.order_by(at.desc(), id_.desc()).limit(LIMIT)
    count = bounded_count(select.with_only_columns(at))
    return {False: ordered, True: ordered.where(position < bound), COUNT_KEY: count}


def profile_statements(select: sa.Select, at: Any, id_: Any) -> dict[Visibility, dict[bool | str, sa.Select]]:
    """Return the `page_statements` of titles for a profile without title rules, and for one that has some."""
    return {
        "listed": page_statements(select, at, id_),
        "restricted": page_statements(select.where(BY_TITLE_RULES), at, id_),
    }


default_card = sa.and_(TitleCard.title_pk == Title.pk, TitleCard.locale == "")
_newer, _newer_episode = sa.orm.aliased(Progress), sa.orm.aliased(Episode)

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
    .join(TitleCard, default_card)
    .outerjoin(Episode, sa.and_(Episode.id == Progress.item_id, Episode.removed_at.is_(None)))
    .where(Progress.profile_id == PROFILE_ID)
)
CONTINUE_WATCHING = profile_statements(
    _TITLES_WITH_PROGRESS.where(
        VISIBLE,
        in_progress_condition(Progress),
        Progress.at > SINCE,
        sa.or_(Progress.season.is_(None), sa.and_(Episode.id.is_not(None), episode_visible())),
        sa.not_(
            sa.exists().where(
                _newer_episode.id == _newer.item_id,
                _newer_episode.removed_at.is_(None),
                episode_visible(_newer_episode),
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
"""Items started and not finished; of a series only the latest episode that the viewer may play."""
plays_of_item = sa.select(sa.func.count()).where(Play.profile_id == PROFILE_ID, Play.item_id == Progress.item_id)
HISTORY = profile_statements(
    _TITLES_WITH_PROGRESS.add_columns(
        plays_of_item.scalar_subquery().label("starts"),
        plays_of_item.where(Play.completed_at.is_not(None)).scalar_subquery().label("completions"),
    ).where(
        Title.removed_at.is_(None),
        WITHIN_MAX_AGE,
        allowed_by_age(),
        Progress.position_s > 0,
    ),
    Progress.at,
    Progress.item_id,
)
"""What was played, not what was only marked as watched."""
_PLAYS = (
    sa.select(
        *(column for column in Play.__table__.c if column.name != "profile_id"),
        Play.started_at.label("sorted_at"),
        Play.id.label("sorted_id"),
    )
    .outerjoin(Title, Title.id == Play.title_id)
    .outerjoin(Channel, Channel.id == Play.title_id)
    .outerjoin(Episode, Episode.id == Play.item_id)
    .where(
        Play.profile_id == PROFILE_ID,
        sa.func.coalesce(Title.removed_at, Channel.removed_at).is_(None),
        sa.or_(WITHIN_MAX_AGE, Channel.id.is_not(None)),
        allowed_by_age(),
        sa.or_(ITEM_ID.is_(None), Play.item_id == ITEM_ID, Play.title_id == ITEM_ID),
        sa.func.replace(HIDDEN_ITEMS, sa.literal(" ") + Play.item_id + sa.literal(" "), "") == HIDDEN_ITEMS,
    )
)
PLAYS: dict[Visibility, dict[bool | str, sa.Select]] = {
    "listed": page_statements(_PLAYS, Play.started_at, Play.id),
    "restricted": page_statements(
        _PLAYS.where(sa.or_(Channel.id.is_not(None), BY_TITLE_RULES)), Play.started_at, Play.id
    ),
}
"""`hidden_items`: the channels and programmes among them that the profile's limits hide, by `encode_codes`."""
LIVE_PLAYS = (
    sa.select(
        Play.item_id, Channel.id.label("channel_id"), Channel.body, Programme.min_age, Programme.title_id,
        Programme.body.label("programme"),
    )
    .distinct()
    .join(Channel, Channel.id == Play.title_id)
    .outerjoin(Programme, Programme.id == Play.item_id)
    .where(Play.profile_id == PROFILE_ID)
)  # fmt: skip
WATCHLIST = profile_statements(
    sa.select(
        Title.pk,
        TitleCard.body,
        WatchlistItem.added_at,
        WatchlistItem.added_at.label("sorted_at"),
        WatchlistItem.title_id.label("sorted_id"),
    )
    .join(Title, Title.id == WatchlistItem.title_id)
    .join(TitleCard, default_card)
    .where(WatchlistItem.profile_id == PROFILE_ID, VISIBLE),
    WatchlistItem.added_at,
    WatchlistItem.title_id,
)
