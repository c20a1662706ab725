"""Finds playable items: a film, an episode or an extra with all that playback needs of it, in one query."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from streamsvc import clock
from streamsvc.models import Episode, Extra, Progress, Title, TitleDetail
from streamsvc.operations.catalog.reading.facts import (
    ACCESS_COLUMNS,
    decode_rights,
    list_labels_of_titles,
    load_age_facts,
    load_title_facts,
)
from streamsvc.operations.catalog.titles.media_files import EXTRA_PREFIX, shares_manifest
from streamsvc.operations.playback.live_items import find_live_item, is_live_id
from streamsvc.operations.playback.playables import Playable
from streamsvc.rules.playback.access import ViewerFacts, decide_access, is_age_allowed
from streamsvc.rules.playback.part_rights import part_facts
from streamsvc.rules.playback.progress import PlayableItem
from streamsvc.rules.playback.restrictions import TitleRules
from streamsvc.rules.refusals.playback import NotYetAvailable
from streamsvc.security.joined_reads import JoinedRead
from streamsvc.security.viewers import Viewer
from streamsvc.storage.compiled_statements import CompiledStatement
from streamsvc.storage.database import fetch_all

EPISODE_PREFIX = "epi_"


def find_playable(item_id: str, profile_id: str | None = None, at: datetime | None = None) -> Playable | None:
    """Return the item with a public id and the profile's progress in it; None if the catalogue has none.

    `at`: when a live channel is watched; None is now.
    """
    if is_live_id(item_id):
        return find_live_item(item_id, profile_id, at or clock.now())
    statement = {EPISODE_PREFIX: EPISODE_BY_ID, EXTRA_PREFIX: EXTRA_BY_ID}.get(item_id[:4], FILM_BY_ID)
    row = statement.one(item_id=item_id, profile_id=profile_id)
    return Playable(row) if row else None


def choose_item_read(item_id: str, **_: Any) -> JoinedRead | None:
    """Return the read of an item together with the viewer; None for what is live, which takes a query of its own."""
    return None if is_live_id(item_id) else ITEM_READS.get(item_id[:4], FILM_READ)


def find_joined_playable(viewer: Viewer, item_id: str) -> Playable | None:
    """Return the item that was read with the viewer, without progress; None if the catalogue has none."""
    if is_live_id(item_id):
        return find_playable(item_id)
    assert viewer.joined is not None, "the view is marked by `reads_with_viewer(choose_item_read)`"
    return Playable(viewer.joined) if viewer.joined.pk is not None else None


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
    """Return the visible films and series, episodes and extras."""
    in_catalogue = Title.removed_at.is_(None)
    no_rights = sa.null().label("rights")
    titles = sa.select(Title.id.label("item_id"), no_rights, *_TITLE_COLUMNS).where(
        Title.id.in_(item_ids), in_catalogue
    )
    parts = (
        sa.select(part.id, part.rights, *_TITLE_COLUMNS)
        .join(Title, Title.pk == part.title_pk)
        .where(part.id.in_(item_ids), part.removed_at.is_(None), in_catalogue)
        for part in (Episode, Extra)
    )
    rows = [
        row
        for row in fetch_all(sa.union_all(titles, *parts))
        if is_age_allowed(load_age_facts(row).min_age_in(country), max_age)
    ]
    if rules is None:
        return {row.item_id for row in rows}
    labels = list_labels_of_titles({row.pk for row in rows})
    return {row.item_id for row in rows if rules.allow(row.title_id, *labels[row.pk])}


def list_available_episodes(series: Playable, viewer: ViewerFacts, now: datetime) -> list[PlayableItem]:
    """Return the episodes of a series that are not hidden and whose time has come, specials included."""
    title = load_title_facts(series.row, series.row.title_id, viewer.title_rules is not None)
    available = []
    for row in fetch_all(EPISODES_OF_SERIES, {"pk": series.row.pk}):
        access = decide_access(part_facts(title, decode_rights(row.rights), row.released_on), viewer, now)
        if not access.hidden and access.reason != NotYetAvailable.code:
            available.append(PlayableItem(row.id, row.title_id, row.runtime_s, None, row.season, row.number))
    return available


EPISODES_OF_SERIES = (
    sa.select(
        Episode.id,
        Title.id.label("title_id"),
        Episode.runtime_s,
        Episode.season,
        Episode.number,
        Episode.released_on,
        Episode.rights,
    )
    .join(Title, Title.pk == Episode.title_pk)
    .where(Title.pk == sa.bindparam("pk"), Episode.removed_at.is_(None))
)
_TITLE_COLUMNS = (*ACCESS_COLUMNS, Title.id.label("title_id"), Title.kind)
ITEM_COLUMNS = (
    *(column for column in _TITLE_COLUMNS if column.name != "title_id"),
    sa.case((Extra.pk.is_not(None), Extra.runtime_s), else_=sa.func.coalesce(Episode.runtime_s, Title.runtime_s)).label(
        "runtime_s"
    ),
    sa.func.coalesce(Episode.media, Extra.media, TitleDetail.media).label("media"),
    TitleDetail.body.label("detail"),
    Episode.markers,
    Episode.season,
    Episode.number.label("episode"),
    Episode.released_on,
    sa.func.coalesce(Episode.rights, Extra.rights).label("rights"),
    Extra.kind.label("extra_kind"),
    sa.case((Extra.pk.is_not(None), shares_manifest()), else_=sa.false()).label("shares_media"),
)
"""Of a row with `item_id` and `title_id`; `pk` is null if the catalogue no longer has the item."""


def join_item(source: Any, title_id: Any, item_id: Any) -> Any:
    """Outer-join the tables of ITEM_COLUMNS to a table that names an item."""
    is_film, has_episode = item_id == title_id, Episode.id == item_id
    is_item = sa.or_(is_film, Episode.pk.is_not(None), Extra.pk.is_not(None))
    in_catalogue = sa.and_(Title.id == title_id, Title.removed_at.is_(None), is_item)
    return (
        source.outerjoin(Episode, sa.and_(has_episode, Episode.removed_at.is_(None)))
        .outerjoin(Extra, sa.and_(Extra.id == item_id, Extra.removed_at.is_(None)))
        .outerjoin(Title, in_catalogue)
        .outerjoin(TitleDetail, sa.and_(TitleDetail.title_pk == Title.pk, is_film))
    )


_PROGRESS_COLUMNS = (Progress.position_s, Progress.duration_s, Progress.watched_at, Progress.restarted_at)
_ITEM_ID: sa.BindParameter[str] = sa.bindparam("item_id")
_PROFILE_ID = sa.bindparam("profile_id", type_=sa.String)


def _with_progress(select: sa.Select) -> CompiledStatement:
    of_profile = sa.and_(Progress.item_id == _ITEM_ID, Progress.profile_id == _PROFILE_ID)
    return CompiledStatement(select.add_columns(*_PROGRESS_COLUMNS).outerjoin(Progress, of_profile))


_FILM = (
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
        sa.null().label("rights"),
        sa.null().label("extra_kind"),
    )
    .outerjoin(TitleDetail, TitleDetail.title_pk == Title.pk)
    .where(Title.id == _ITEM_ID, Title.removed_at.is_(None))
)
_EPISODE = (
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
        Episode.rights,
        sa.null().label("extra_kind"),
    )
    .join(Title, Title.pk == Episode.title_pk)
    .where(Episode.id == _ITEM_ID, Episode.removed_at.is_(None), Title.removed_at.is_(None))
)
_EXTRA = (
    sa.select(
        *_TITLE_COLUMNS,
        Extra.id.label("item_id"),
        Extra.runtime_s,
        Extra.media,
        Extra.variants,
        Extra.drm_keys,
        *(sa.null().label(name) for name in ("detail", "markers", "season", "episode", "released_on")),
        Extra.rights,
        Extra.kind.label("extra_kind"),
        shares_manifest(),
    )
    .join(Title, Title.pk == Extra.title_pk)
    .where(Extra.id == _ITEM_ID, Extra.removed_at.is_(None), Title.removed_at.is_(None))
)
FILM_BY_ID, EPISODE_BY_ID, EXTRA_BY_ID = map(_with_progress, (_FILM, _EPISODE, _EXTRA))
FILM_READ = JoinedRead(_FILM)
ITEM_READS = {EPISODE_PREFIX: JoinedRead(_EPISODE), EXTRA_PREFIX: JoinedRead(_EXTRA)}
