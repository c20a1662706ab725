"""The parts of a title as one audience sees them: its episodes and extras, each with its own availability."""

import functools
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from streamsvc.models import Extra
from streamsvc.operations.catalog.reading.audience import Audience
from streamsvc.operations.catalog.reading.facts import decode_rights, load_title_facts
from streamsvc.operations.catalog.reading.part_texts import localized_text
from streamsvc.operations.catalog.titles.media_files import shares_manifest
from streamsvc.rules.playback.access import AccessDecision, decide_access
from streamsvc.rules.playback.part_rights import extra_facts, is_open_extra, part_facts
from streamsvc.settings import current_settings
from streamsvc.storage.database import fetch_all, format_utc

EXTRAS_OF_TITLE = (
    sa.select(Extra.id, Extra.kind, Extra.title, Extra.runtime_s, Extra.detail, Extra.rights, shares_manifest())
    .where(Extra.title_pk == sa.bindparam("pk"), Extra.removed_at.is_(None))
    .order_by(Extra.position)
)


class _EpisodeDetail(msgspec.Struct):
    tracks: msgspec.Raw = msgspec.Raw(b"[]")
    external_ids: msgspec.Raw = msgspec.Raw(b"{}")
    age_rating: msgspec.Raw = msgspec.Raw(b"null")


class _ExtraDetail(msgspec.Struct):
    artwork: msgspec.Raw
    tracks: msgspec.Raw
    age_rating: msgspec.Raw = msgspec.Raw(b"null")


_episode_detail, _extra_detail = msgspec.json.Decoder(_EpisodeDetail), msgspec.json.Decoder(_ExtraDetail)
_NO_DETAIL = _EpisodeDetail()


class TitleParts:
    """Decides about a title and its parts, given its row (see `load_title_facts`), at one moment.

    Parts with the same rights are decided once: the episodes of a season often have the same.
    """

    def __init__(self, row: Any, audience: Audience, now: datetime) -> None:
        self.pk, self.title_id, self.viewer, self.now = row.pk, row.id, audience.facts, now
        self.title = load_title_facts(row, row.id, audience.facts.title_rules is not None)
        self._decisions: dict[tuple, AccessDecision] = {}

    def decide(self) -> AccessDecision:
        """Return the decision on the title itself."""
        return decide_access(self.title, self.viewer, self.now)

    def decide_episode(self, rights: str | None, released_on: date | None) -> AccessDecision:
        """Return the decision on an episode with these stored rights."""
        key = (rights, released_on if released_on and released_on > self.now.date() else None)
        if key not in self._decisions:
            facts = part_facts(self.title, decode_rights(rights), key[1])
            self._decisions[key] = decide_access(facts, self.viewer, self.now)
        return self._decisions[key]

    def episode_views(self, rows: Sequence[Any], language: str | None) -> list[dict]:
        """Return the episodes of rows that are not hidden, with their texts in the closest language available."""
        shown = self.visible_episodes(rows)
        availability = functools.cache(lambda access: msgspec.Raw(msgspec.json.encode(availability_view(access))))
        return [self._episode_view(row, availability(access), language) for row, access in shown]

    def visible_episodes(self, rows: Sequence[Any]) -> list[tuple[Any, AccessDecision]]:
        """Return the rows of the episodes that are not hidden, each with the decision on it."""
        decided = [(row, self.decide_episode(row.rights, row.released_on)) for row in rows]
        return [(row, access) for row, access in decided if not access.hidden]

    def _episode_view(self, row: Any, availability: msgspec.Raw, language: str | None) -> dict:
        detail = _episode_detail.decode(row.detail) if row.detail else _NO_DETAIL
        texts = row.localizations
        return {
            "id": row.id,
            "title_id": self.title_id,
            "season": row.season,
            "number": row.number,
            "title": localized_text(texts, language, "title") or row.title,
            "synopsis": localized_text(texts, language, "synopsis") or row.synopsis,
            "runtime_s": row.runtime_s,
            "released_on": row.released_on,
            "markers": msgspec.Raw(row.markers.encode()) if row.markers else {},
            "artwork": msgspec.Raw(row.artwork.encode()) if row.artwork else [],
            "age_rating": detail.age_rating,
            "tracks": detail.tracks,
            "external_ids": detail.external_ids,
            "availability": availability,
        }

    def extra_views(self) -> list[dict]:
        """Return the title's extras that are not hidden, in the record's order."""
        policy, views = current_settings().extras, []
        for row in fetch_all(EXTRAS_OF_TITLE, {"pk": self.pk}):
            is_open = is_open_extra(row.kind, policy)
            facts = extra_facts(self.title, decode_rights(row.rights), is_open, row.shares_media)
            access = decide_access(facts, self.viewer, self.now)
            if not access.hidden:
                views.append(_extra_view(row, access))
        return views


def _extra_view(row: Any, access: AccessDecision) -> dict:
    detail = _extra_detail.decode(row.detail)
    return {
        "id": row.id,
        "kind": row.kind,
        "title": row.title,
        "runtime_s": row.runtime_s,
        "age_rating": detail.age_rating,
        "artwork": detail.artwork,
        "tracks": detail.tracks,
        "availability": availability_view(access),
    }


def availability_view(access: AccessDecision) -> dict:
    """Return a decision as in Availability."""
    return {
        "playable": access.playable,
        "reason": access.reason,
        "starts_at": format_utc(access.starts_at),
        "ends_at": format_utc(access.ends_at),
    }
