"""What playback needs of an item: its media, its progress, and the facts for decisions on access."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec

from streamsvc.operations.catalog.reading.facts import (
    decode_rights,
    list_title_labels,
    load_age_facts,
    load_title_facts,
)
from streamsvc.rules.catalog.record import Variant
from streamsvc.rules.maturity import effective_max_age
from streamsvc.rules.playback.access import TitleFacts, ViewerFacts, is_age_allowed
from streamsvc.rules.playback.drm import DrmKey
from streamsvc.rules.playback.media_paths import MediaLocation
from streamsvc.rules.playback.part_rights import extra_facts, is_open_extra, part_facts
from streamsvc.rules.playback.progress import PlayableItem
from streamsvc.rules.playback.restrictions import TitleRules, parse_title_rules
from streamsvc.settings import current_settings


class _Detail(msgspec.Struct):
    markers: dict = {}


@dataclass(frozen=True)
class Playable:
    """An item that can be played.

    `row` is one of FILM_BY_ID, EPISODE_BY_ID, EXTRA_BY_ID or of a stream with its ITEM_COLUMNS, all of items.py.
    """

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

    @property
    def is_live(self) -> bool:
        """Whether it is broadcast as it is watched, so that there is no position to resume from."""
        return False

    @property
    def is_title(self) -> bool:
        """Whether it is a film or a series: no part of one, and nothing live."""
        return self.row.item_id == self.row.title_id

    @property
    def has_progress(self) -> bool:
        """Whether it is something to resume and to mark as watched."""
        return not (self.is_live or self.is_extra)

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
    def media_owner(self) -> dict[str, Any]:
        """Whose manifests are the item's own, as in MediaFile and ChannelMediaFile."""
        number = "" if self.row.season is None else f"{self.row.season}/{self.row.episode}"
        return {"title_pk": self.row.pk, "item": self.row.item_id if self.is_extra else number, "channel_pk": 0}

    def owns_folder(self, location: MediaLocation) -> bool:
        """Whether the item's own manifest opens its folder, if no other item's is there."""
        return True

    def denied_paths(self, folders: Iterable[str]) -> list[str]:
        """Return what the item's own manifests must not open in their folders."""
        return []

    @cached_property
    def item(self) -> PlayableItem:
        row = self.row
        credits_s = self.markers.get("credits_s")
        return PlayableItem(row.item_id, row.title_id, row.runtime_s, credits_s, row.season, row.episode)

    def facts_for(self, viewer: ViewerFacts) -> TitleFacts:
        """Return the facts for decisions on a viewer's access. Windows, plans and labels are queried only if needed."""
        title = load_title_facts(self.row, self.row.title_id, viewer.title_rules is not None)
        rights = decode_rights(self.row.rights)
        if self.is_extra:
            return extra_facts(title, rights, self.is_open_extra, self.row.shares_media)
        return part_facts(title, rights, self.row.released_on)

    def is_visible_to(self, profile: Any, country: str | None) -> bool:
        """Whether a profile, a row of `Viewer.profiles`, may see the item by its age limit and title rules.

        `country`: the viewer's.
        """
        max_age = effective_max_age(profile.max_age, profile.kids)
        return self.is_visible(country, max_age, parse_title_rules(profile.restrictions))

    def is_visible(self, country: str | None, max_age: int | None, rules: TitleRules | None) -> bool:
        """Whether an age limit and title rules allow the item to be seen in a country."""
        if not is_age_allowed(load_age_facts(self.row).min_age_in(country), max_age):
            return False
        return rules is None or rules.allow(self.row.title_id, *list_title_labels(self.row.pk))
