"""Playable items: a film, an episode or an extra with all that access decisions and playback need, in one query."""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import msgspec
import sqlalchemy as sa

from streamsvc.models import Episode, Extra, Progress, Title, TitleDetail
from streamsvc.operations.catalog.reading.facts import decode_rights, list_title_genres, load_title_facts
from streamsvc.rules.catalog.record import Variant
from streamsvc.rules.playback.access import TitleFacts, ViewerFacts, decide_access, is_age_allowed
from streamsvc.rules.playback.drm import DrmKey
from streamsvc.rules.playback.part_rights import extra_facts, is_open_extra, part_facts
from streamsvc.rules.playback.progress import PlayableItem
from streamsvc.rules.playback.restrictions import parse_title_rules
from streamsvc.rules.refusals.playback import NotYetAvailable
from streamsvc.settings import current_settings
from streamsvc.storage.compiled_statements import CompiledStatement
from streamsvc.storage.database import fetch_all

EPISODE_PREFIX, EXTRA_PREFIX = "epi_", "xtr_"


class _Detail(msgspec.Struct):
    markers: dict = {}


@dataclass(frozen=True)
class Playable:
    """A row of FILM_BY_ID, EPISODE_BY_ID, EXTRA_BY_ID or of a stream with its ITEM_COLUMNS."""

    row: Any

    @property
    def is_series(self) -> bool:
        return self.row.kind == "series" and self.row.season is None and not self.is_extra

    @property
    def is_extra(self) -> bool:
        return self.row.extra_kind is not None

    @property
    def is_open_extra(self) -> bool:
        """Whether it is an extra that needs no subscription and takes no stream slot, by STREAMSVC_EXTRAS."""
        return self.is_extra and is_open_extra(self.row.extra_kind, current_settings().extras)

    @cached_property
    def markers(self) -> dict:
        """The markers in seconds: {"credits_s": 8300, …}."""
        row = self.row
        if self.is_extra:
            return {}
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
        if self.is_extra:
            return self.row.item_id
        return "" if self.row.season is None else f"{self.row.season}/{self.row.episode}"

    @cached_property
    def item(self) -> PlayableItem:
        row = self.row
        credits_s = self.markers.get("credits_s")
        return PlayableItem(row.item_id, row.title_id, row.runtime_s, credits_s, row.season, row.episode)

    def facts_for(self, viewer: ViewerFacts) -> TitleFacts:
        """Return the facts for decisions on a viewer's access. Windows, plans and genres are queried only if needed."""
        title = load_title_facts(self.row, self.row.title_id, viewer.title_rules is not None)
        rights = decode_rights(self.row.rights)
        if self.is_extra:
            return extra_facts(title, rights, self.is_open_extra)
        return part_facts(title, rights, self.row.released_on)

    def is_visible_to(self, profile: Any) -> bool:
        """Whether a profile, a row of `Viewer.profiles`, may see the item by its age limit and title rules."""
        rules = parse_title_rules(profile.restrictions)
        own_gate = decode_rights(self.row.rights).age_gate
        if own_gate is not None and profile.max_age is not None and own_gate > profile.max_age:
            return False
        if not is_age_allowed(self.row.min_age, profile.max_age):
            return False
        return rules is None or rules.allow(self.row.title_id, list_title_genres(self.row.pk))


def find_playable(item_id: str, profile_id: str | None = None) -> Playable | None:
    """Return the item with a public id and the profile's progress in it; None if the catalogue has none."""
    statement = {EPISODE_PREFIX: EPISODE_BY_ID, EXTRA_PREFIX: EXTRA_BY_ID}.get(item_id[:4], FILM_BY_ID)
    row = statement.one(item_id=item_id, profile_id=profile_id)
    return Playable(row) if row else None


def list_available_episodes(series: Playable, viewer: ViewerFacts, now: datetime) -> list[PlayableItem]:
    """Return the episodes of a series that are not hidden and whose time has come, specials included."""
    title = load_title_facts(series.row, series.row.title_id, viewer.title_rules is not None)
    items = []
    for row in fetch_all(EPISODES_OF_SERIES, {"pk": series.row.pk}):
        access = decide_access(part_facts(title, decode_rights(row.rights), row.released_on), viewer, now)
        if not access.hidden and access.reason != NotYetAvailable.code:
            items.append(PlayableItem(row.id, row.title_id, row.runtime_s, None, row.season, row.number))
    return items


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
        sa.null().label("rights"),
        sa.null().label("extra_kind"),
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
        Episode.rights,
        sa.null().label("extra_kind"),
    )
    .join(Title, Title.pk == Episode.title_pk)
    .where(Episode.id == _ITEM_ID, Episode.removed_at.is_(None), Title.removed_at.is_(None))
)
EXTRA_BY_ID = _with_progress(
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
    )
    .join(Title, Title.pk == Extra.title_pk)
    .where(Extra.id == _ITEM_ID, Extra.removed_at.is_(None), Title.removed_at.is_(None))
)
