"""Playable items: a film or an episode with everything that access decisions and playback need, in one query."""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import msgspec
import sqlalchemy as sa

from streamsvc.models import Episode, Progress, Title, TitleDetail
from streamsvc.operations.catalog.reading.facts import list_title_labels, load_title_facts
from streamsvc.rules.catalog.record import Variant
from streamsvc.rules.maturity import effective_max_age
from streamsvc.rules.playback.access import TitleFacts, ViewerFacts, is_age_allowed
from streamsvc.rules.playback.drm import DrmKey
from streamsvc.rules.playback.progress import PlayableItem
from streamsvc.rules.playback.restrictions import parse_title_rules
from streamsvc.storage.compiled_statements import CompiledStatement
from streamsvc.storage.database import fetch_all

EPISODE_PREFIX = "epi_"


class _Detail(msgspec.Struct):
    markers: dict = {}


@dataclass(frozen=True)
class Playable:
    """A row of FILM_BY_ID, EPISODE_BY_ID or of a stream with its ITEM_COLUMNS."""

    row: Any

    @property
    def is_series(self) -> bool:
        return self.row.kind == "series" and self.row.season is None

    @cached_property
    def markers(self) -> dict:
        """The markers in seconds: {"credits_s": 8300, …}."""
        row = self.row
        if row.season is None:
            return msgspec.json.decode(row.detail, type=_Detail).markers if row.detail else {}
        return msgspec.json.decode(row.markers) if row.markers else {}

    @cached_property
    def media(self) -> dict:
        """The media URLs by type: {"hls": url, …}; empty if the catalogue has none."""
        return msgspec.json.decode(self.row.media) if self.row.media else {}

    @cached_property
    def variants(self) -> list[Variant]:
        """The variants that the catalogue declares."""
        return msgspec.json.decode(self.row.variants, type=list[Variant]) if self.row.variants else []

    @cached_property
    def drm_keys(self) -> list[DrmKey]:
        """The content keys that the catalogue declares."""
        return msgspec.json.decode(self.row.drm_keys, type=list[DrmKey]) if self.row.drm_keys else []

    @property
    def number(self) -> str:
        """The item within its title, as in MediaFile.item."""
        return "" if self.row.season is None else f"{self.row.season}/{self.row.episode}"

    @cached_property
    def item(self) -> PlayableItem:
        row = self.row
        credits_s = self.markers.get("credits_s")
        return PlayableItem(row.item_id, row.title_id, row.runtime_s, credits_s, row.season, row.episode)

    def facts_for(self, viewer: ViewerFacts) -> TitleFacts:
        """Return the facts for decisions on a viewer's access. Windows, plans and labels are queried only if needed."""
        return load_title_facts(self.row, self.row.title_id, self.row.released_on, viewer.title_rules is not None)

    def is_visible_to(self, profile: Any) -> bool:
        """Whether a profile, a row of `Viewer.profiles`, may see the item by its age limit and title rules."""
        rules = parse_title_rules(profile.restrictions)
        if not is_age_allowed(self.row.min_age, effective_max_age(profile.max_age, profile.kids)):
            return False
        return rules is None or rules.allow(self.row.title_id, *list_title_labels(self.row.pk))


def find_playable(item_id: str, profile_id: str | None = None) -> Playable | None:
    """Return the item with a public id and the profile's progress in it; None if the catalogue has none."""
    row = (EPISODE_BY_ID if item_id.startswith(EPISODE_PREFIX) else FILM_BY_ID).one(
        item_id=item_id, profile_id=profile_id
    )
    return Playable(row) if row else None


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
_TITLE_COLUMNS = (
    Title.pk,
    Title.id.label("title_id"),
    Title.kind,
    Title.min_age,
    Title.windowed,
    Title.plan_limited,
)
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
