"""The statements of "Next up": of each series, the episode to watch next."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles

from streamsvc.models import Episode, Progress, Title, TitleCard
from streamsvc.models.catalog.visibility import CONDITIONS, EPISODE_OPENED_AT, episode_visible
from streamsvc.operations.playback.row_statements import (
    EPISODE_COLUMNS,
    PROFILE_ID,
    SINCE,
    finished_condition,
    page_statements,
    shown_condition,
    unfinished_condition,
)
from streamsvc.storage.database import UtcTime

TODAY = sa.bindparam("today", type_=sa.Date)
WITH_SPECIALS = sa.bindparam("with_specials", type_=sa.Boolean)
LAST_SEASON = 1_000_000_000
_watched = sa.orm.aliased(Progress)
_started, _started_episode = sa.orm.aliased(Progress), sa.orm.aliased(Episode)
_is_rewatched = sa.and_(Progress.restarted_at > Progress.first_watched_at, finished_condition(Progress))


class start_of_day(sa.sql.functions.FunctionElement[datetime]):
    """The moment in UTC at which a civil day begins."""

    type = UtcTime()
    inherit_cache = True


@compiles(start_of_day, "sqlite")
def _compile_for_sqlite(element: start_of_day, compiler: Any, **options: Any) -> str:
    return f"({compiler.process(element.clauses, **options)} || ' 00:00:00.000000')"


@compiles(start_of_day, "postgresql")
def _compile_for_postgresql(element: start_of_day, compiler: Any, **options: Any) -> str:
    return f"({compiler.process(element.clauses, **options)}::timestamp AT TIME ZONE 'UTC')"


def _season_order(season: Any) -> sa.Case:
    """Return the sort key of a season: specials come last."""
    return sa.case((season == 0, LAST_SEASON), else_=season)


def _is_in_order(season: Any) -> sa.ColumnElement[bool]:
    """Whether the episodes of a season have a place in the order: those of season 0 only by the setting."""
    return sa.or_(season > 0, sa.and_(season == 0, WITH_SPECIALS))


def _last_watched_episodes() -> sa.Subquery:
    """Select, per series, the episode watched last.

    `rewatched_at`: when it was started again, if it had been watched before.
    """
    latest_first = (Progress.watched_at.desc(), _season_order(Progress.season).desc(), Progress.episode.desc())
    ranked = (
        sa.select(
            Progress.title_id,
            _season_order(Progress.season).label("season"),
            Progress.episode,
            Progress.watched_at,
            sa.case((_is_rewatched, Progress.restarted_at)).label("rewatched_at"),
            shown_condition(Progress).label("shown"),
            sa.func.row_number().over(partition_by=Progress.title_id, order_by=latest_first).label("position"),
        )
        .where(Progress.profile_id == PROFILE_ID, Progress.watched_at.is_not(None), _is_in_order(Progress.season))
        .subquery()
    )
    return sa.select(ranked).where(ranked.c.position == 1, ranked.c.shown).subquery()


def _next_up_statements(visible: Any) -> dict[bool | str, sa.Select]:
    """Select, per series, the first unwatched episode after the one watched last that the viewer may play.

    One that becomes available, on the day of its release or in a window of its own, brings its series back. While a
    series is watched again, episodes count as unwatched that were watched before that.
    """
    last = _last_watched_episodes()
    in_order = [_season_order(Episode.season), Episode.number]
    active_at: sa.ColumnElement[datetime] = last.c.watched_at
    for opened_at in (start_of_day(Episode.released_on), EPISODE_OPENED_AT):
        active_at = sa.case((opened_at > active_at, opened_at), else_=active_at)
    is_watched = sa.exists().where(
        _watched.profile_id == PROFILE_ID,
        _watched.item_id == Episode.id,
        _watched.watched_at.is_not(None),
        sa.or_(last.c.rewatched_at.is_(None), _watched.watched_at > last.c.rewatched_at),
    )
    is_being_watched = sa.exists().where(
        _started_episode.id == _started.item_id,
        _started_episode.removed_at.is_(None),
        episode_visible(_started_episode),
        _started.profile_id == PROFILE_ID,
        _started.title_id == last.c.title_id,
        unfinished_condition(_started),
        sa.or_(_started.at > last.c.watched_at, sa.and_(_started.at > SINCE, shown_condition(_started))),
    )
    later = (
        sa.select(
            Title.pk,
            *EPISODE_COLUMNS,
            last.c.title_id,
            active_at.label("active_at"),
            sa.func.row_number().over(partition_by=Title.pk, order_by=in_order).label("position"),
        )
        .join(Title, Title.id == last.c.title_id)
        .join(Episode, Episode.title_pk == Title.pk)
        .where(
            visible,
            episode_visible(),
            _is_in_order(Episode.season),
            sa.tuple_(*in_order) > sa.tuple_(last.c.season, last.c.episode),
            Episode.removed_at.is_(None),
            sa.or_(Episode.released_on.is_(None), Episode.released_on <= TODAY),
            sa.not_(is_watched),
            sa.not_(is_being_watched),
        )
        .subquery()
    )
    episode_columns = [later.c[column.name] for column in EPISODE_COLUMNS]
    sorted_by = (later.c.active_at.label("sorted_at"), later.c.title_id.label("sorted_id"))
    next_episode = (
        sa.select(later.c.pk, TitleCard.body, *episode_columns, *sorted_by)
        .join(TitleCard, sa.and_(TitleCard.title_pk == later.c.pk, TitleCard.locale == ""))
        .where(later.c.position == 1, later.c.active_at > SINCE)
    )
    return page_statements(next_episode, later.c.active_at, later.c.title_id)


NEXT_UP = {visibility: _next_up_statements(CONDITIONS[visibility]) for visibility in ("listed", "restricted")}
