"""Finds playable items: a film or an episode with everything that access decisions and playback need, in one query."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from streamsvc import clock
from streamsvc.models import Episode, Progress, Title, TitleDetail
from streamsvc.operations.catalog.reading.facts import ACCESS_COLUMNS, list_labels_of_titles, load_min_ages
from streamsvc.operations.playback.live_items import find_live_item, is_live_id
from streamsvc.operations.playback.playables import Playable
from streamsvc.rules import maturity
from streamsvc.rules.playback.access import is_age_allowed
from streamsvc.rules.playback.progress import PlayableItem
from streamsvc.rules.playback.restrictions import TitleRules
from streamsvc.storage.compiled_statements import CompiledStatement
from streamsvc.storage.database import fetch_all

EPISODE_PREFIX = "epi_"


def find_playable(item_id: str, profile_id: str | None = None, at: datetime | None = None) -> Playable | None:
    """Return the item with a public id and the profile's progress in it; None if the catalogue has none.

    `at`: when a live channel is watched; None is now.
    """
    if is_live_id(item_id):
        return find_live_item(item_id, profile_id, at or clock.now())
    row = (EPISODE_BY_ID if item_id.startswith(EPISODE_PREFIX) else FILM_BY_ID).one(
        item_id=item_id, profile_id=profile_id
    )
    return Playable(row) if row else None


def list_visible_ids(
    item_ids: Collection[str], country: str | None, max_age: int | None, rules: TitleRules | None
) -> set[str]:
    """Return which items the catalogue has, and an age limit and title rules do not hide in a country."""
    live_ids = {item_id for item_id in item_ids if is_live_id(item_id)}
    return _list_visible_titles(set(item_ids) - live_ids, country, max_age, rules) | {
        item_id
        for item_id in live_ids
        if (item := find_live_item(item_id, None, clock.now())) and item.is_visible(country, max_age, rules)
    }


def _list_visible_titles(
    item_ids: Collection[str], country: str | None, max_age: int | None, rules: TitleRules | None
) -> set[str]:
    in_catalogue = (Title.removed_at.is_(None),)
    titles = sa.select(Title.id.label("item_id"), *_TITLE_COLUMNS).where(Title.id.in_(item_ids), *in_catalogue)
    episodes = (
        sa.select(Episode.id, *_TITLE_COLUMNS)
        .join(Title, Title.pk == Episode.title_pk)
        .where(Episode.id.in_(item_ids), Episode.removed_at.is_(None), *in_catalogue)
    )

    def is_allowed(row: Any) -> bool:
        return is_age_allowed(maturity.min_age_in(country, row.min_age, load_min_ages(row)), max_age)

    rows = [row for row in fetch_all(sa.union_all(titles, episodes)) if is_allowed(row)]
    if rules is None:
        return {row.item_id for row in rows}
    labels = list_labels_of_titles({row.pk for row in rows})
    return {row.item_id for row in rows if rules.allow(row.title_id, *labels[row.pk])}


def list_released_episodes(title_pk: int, now: datetime) -> list[PlayableItem]:
    """Return the episodes of a series that have been released, specials included."""
    return [
        PlayableItem(row.id, row.title_id, row.runtime_s, None, row.season, row.number)
        for row in fetch_all(RELEASED_EPISODES, {"pk": title_pk, "today": now.date()})
    ]


RELEASED_EPISODES = (
    sa.select(Episode.id, Title.id.label("title_id"), Episode.runtime_s, Episode.season, Episode.number)
    .join(Title, Title.pk == Episode.title_pk)
    .where(
        Title.pk == sa.bindparam("pk"),
        Episode.removed_at.is_(None),
        sa.or_(Episode.released_on.is_(None), Episode.released_on <= sa.bindparam("today", type_=sa.Date)),
    )
)
_TITLE_COLUMNS = (*ACCESS_COLUMNS, Title.id.label("title_id"), Title.kind)
ITEM_COLUMNS = (
    *(column for column in _TITLE_COLUMNS if column.name != "title_id"),
    sa.func.coalesce(Episode.runtime_s, Title.runtime_s).label("runtime_s"),
    sa.func.coalesce(Episode.media, TitleDetail.media).label("media"),
    TitleDetail.body.label("detail"),
    Episode.markers,
    Episode.season,
    Episode.number.label("episode"),
    Episode.released_on,
)
"""Of a row with `item_id` and `title_id`; `pk` is null if the catalogue no longer has the item."""


def join_item(source: Any, title_id: Any, item_id: Any) -> Any:
    """Outer-join the tables of ITEM_COLUMNS to a table that names an item."""
    is_film, has_episode = item_id == title_id, Episode.id == item_id
    in_catalogue = sa.and_(Title.id == title_id, Title.removed_at.is_(None), sa.or_(is_film, Episode.pk.is_not(None)))
    return (
        source.outerjoin(Episode, sa.and_(has_episode, Episode.removed_at.is_(None)))
        .outerjoin(Title, in_catalogue)
        .outerjoin(TitleDetail, sa.and_(TitleDetail.title_pk == Title.pk, is_film))
    )


_PROGRESS_COLUMNS = (Progress.position_s, Progress.duration_s, Progress.watched_at, Progress.restarted_at)
_ITEM_ID: sa.BindParameter[str] = sa.bindparam("item_id")
_PROFILE_ID = sa.bindparam("profile_id", type_=sa.String)


def _with_progress(select: sa.Select) -> CompiledStatement:
    of_profile = sa.and_(Progress.item_id == _ITEM_ID, Progress.profile_id == _PROFILE_ID)
    return CompiledStatement(select.add_columns(*_PROGRESS_COLUMNS).outerjoin(Progress, of_profile))


FILM_BY_ID = _with_progress(
    sa.select(
        *_TITLE_COLUMNS,
        Title.id.label("item_id"),
        Title.runtime_s,
        TitleDetail.media,
        TitleDetail.variants,
        TitleDetail.drm_keys,
        TitleDetail.body.label("detail"),
        sa.null().label("markers"),
        sa.null().label("season"),
        sa.null().label("episode"),
        sa.null().label("released_on"),
    )
    .outerjoin(TitleDetail, TitleDetail.title_pk == Title.pk)
    .where(Title.id == _ITEM_ID, Title.removed_at.is_(None))
)
EPISODE_BY_ID = _with_progress(
    sa.select(
        *_TITLE_COLUMNS,
        Episode.id.label("item_id"),
        Episode.runtime_s,
        Episode.media,
        Episode.variants,
        Episode.drm_keys,
        Episode.markers,
        Episode.season,
        Episode.number.label("episode"),
        Episode.released_on,
    )
    .join(Title, Title.pk == Episode.title_pk)
    .where(Episode.id == _ITEM_ID, Episode.removed_at.is_(None), Title.removed_at.is_(None))
)
