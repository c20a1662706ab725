"""Live channels, and their programmes on catch-up, as items that can be played.

A channel has no position to resume from. A programme has, like a film, and can be played from its start until the
channel's catch-up is over.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa

from streamsvc.models import Channel, Programme, Progress
from streamsvc.operations.catalog.reading.facts import list_labels_of_broadcasts
from streamsvc.operations.catalog.titles.json_fragments import encode_json
from streamsvc.operations.playback.playables import Playable
from streamsvc.operations.playback.row_statements import LIVE_PLAYS
from streamsvc.rules.catalog.channels import ChannelRecord, decode_stored_channel
from streamsvc.rules.catalog.programmes import (
    CHANNEL_PREFIX,
    NO_LABELS,
    PROGRAMME_PREFIX,
    Labels,
    decode_programme,
    is_programme_listed,
    programme_facts,
    strictest_age,
)
from streamsvc.rules.playback.access import TitleFacts, ViewerFacts, is_age_allowed
from streamsvc.rules.playback.catchup import archive_prefix, available_until, catchup_windows, expand_template
from streamsvc.rules.playback.media_paths import MediaLocation
from streamsvc.rules.playback.restrictions import TitleRules
from streamsvc.storage.compiled_statements import CompiledStatement
from streamsvc.storage.database import UtcTime, fetch_all

_NOW = sa.bindparam("now", type_=UtcTime)
_PROGRAMME_COLUMNS = (
    Programme.id.label("programme_id"),
    Programme.starts_at,
    Programme.ends_at,
    Programme.min_age,
    Programme.title_id,
    Programme.body.label("programme"),
)
_latest = sa.alias(Programme.__table__)
_latest_start = sa.select(sa.func.max(_latest.c.starts_at)).where(
    _latest.c.channel_pk == Channel.pk, _latest.c.starts_at <= _NOW
)
CHANNEL_ON_NOW = CompiledStatement(
    sa.select(Channel.pk, Channel.id, Channel.body, *_PROGRAMME_COLUMNS)
    .outerjoin(
        Programme,
        sa.and_(
            Programme.channel_pk == Channel.pk,
            Programme.starts_at == _latest_start.scalar_subquery(),
            Programme.ends_at > _NOW,
        ),
    )
    .where(Channel.id == sa.bindparam("item_id"), Channel.removed_at.is_(None))
)
"""A channel with the programme that is on now, whose columns are null if none is known."""
PROGRAMME_BY_ID = CompiledStatement(
    sa.select(
        Channel.pk,
        Channel.id,
        Channel.body,
        *_PROGRAMME_COLUMNS,
        Progress.position_s,
        Progress.duration_s,
        Progress.watched_at,
        Progress.restarted_at,
    )
    .join(Channel, Channel.pk == Programme.channel_pk)
    .outerjoin(Progress, sa.and_(Progress.item_id == Programme.id, Progress.profile_id == sa.bindparam("profile_id")))
    .where(Programme.id == sa.bindparam("item_id"), Channel.removed_at.is_(None))
)


def is_live_id(item_id: str) -> bool:
    """Whether it is the id of a channel or a programme."""
    return item_id.startswith((CHANNEL_PREFIX, PROGRAMME_PREFIX))


def find_live_item(item_id: str, profile_id: str | None, now: datetime) -> Playable | None:
    """Return a channel as it is now, or a programme with the profile's progress; None if there is none."""
    if item_id.startswith(CHANNEL_PREFIX):
        row = CHANNEL_ON_NOW.one(item_id=item_id, now=now)
    else:
        row = PROGRAMME_BY_ID.one(item_id=item_id, profile_id=profile_id)
    if row is None:
        return None
    record = decode_stored_channel(row.body)
    kind = LiveChannel if item_id.startswith(CHANNEL_PREFIX) else CatchupProgramme
    return kind(_item_row(row, item_id, record, now), record, row)


def list_hidden_live_items(profile_id: str, viewer: ViewerFacts) -> list[str]:
    """Return the ids of the channels and programmes in a profile's plays that its limits hide.

    A programme that has left the guide is hidden from a profile with limits: nobody knows any more what it was.
    """
    if not viewer.has_limits:
        return []
    rows = fetch_all(LIVE_PLAYS, {"profile_id": profile_id})
    labels = list_labels_of_broadcasts(row.title_id for row in rows) if viewer.title_rules else {}
    return [row.item_id for row in rows if not _is_play_shown(row, labels.get(row.title_id, NO_LABELS), viewer)]


def _is_play_shown(row: Any, labels: Labels, viewer: ViewerFacts) -> bool:
    """Whether a profile's limits allow a row of LIVE_PLAYS; `labels`: of the title that the programme broadcasts."""
    facts, rules = decode_stored_channel(row.body).facts(row.channel_id), viewer.title_rules
    if not is_age_allowed(facts.min_age, viewer.max_age) or not (
        rules is None or rules.allow(facts.title_id, facts.genres)
    ):
        return False
    if not row.item_id.startswith(PROGRAMME_PREFIX):
        return True
    if row.programme is None:
        return False
    programme = programme_facts(row.min_age, row.title_id, decode_programme(row.programme), labels)
    return is_programme_listed(facts, programme, viewer)


def _item_row(row: Any, item_id: str, record: ChannelRecord, now: datetime) -> SimpleNamespace:
    """Return the columns that playback reads of every item."""
    is_programme = item_id.startswith(PROGRAMME_PREFIX)
    runtime_s = int((row.ends_at - row.starts_at).total_seconds()) if is_programme else None
    progress = {name: getattr(row, name, None) for name in ("position_s", "duration_s", "watched_at", "restarted_at")}
    media = _programme_media(record, row, now) if is_programme else record.media
    return SimpleNamespace(
        pk=row.pk,
        item_id=item_id,
        title_id=row.id,
        kind="programme" if is_programme else "channel",
        runtime_s=runtime_s,
        season=None,
        episode=None,
        markers=None,
        detail=None,
        media=encode_json(media) if media else None,
        variants=encode_json(record.variants) if record.variants else None,
        drm_keys=encode_json(record.drm_keys) if record.drm_keys else None,
        rights=None,
        extra_kind=None,
        **progress,
    )


def _programme_media(record: ChannelRecord, row: Any, now: datetime) -> dict[str, str]:
    """Return the URLs of a programme's recording, by type."""
    return {
        kind: expand_template(template, row.starts_at, row.ends_at, now, record.time_zone)
        for kind, template in (record.catchup_media or {}).items()
    }


@dataclass(frozen=True)
class LiveItem(Playable):
    """A channel or one of its programmes; `stored` is a row of CHANNEL_ON_NOW or PROGRAMME_BY_ID."""

    record: ChannelRecord
    stored: Any

    @property
    def is_title(self) -> bool:
        return False

    @property
    def media_owner(self) -> dict[str, Any]:
        return {"title_pk": 0, "item": "", "channel_pk": self.row.pk}

    def channel_facts(self, rules: TitleRules | None) -> TitleFacts:
        """Return the facts of the channel, with the programme that is on now or is played; for a profile's rules."""
        facts, stored = self.record.facts(self.row.title_id), self.stored
        if stored.programme_id is None:
            return facts
        labels = list_labels_of_broadcasts([stored.title_id]) if rules else {}
        own_labels = labels.get(stored.title_id, NO_LABELS)
        programme = programme_facts(stored.min_age, stored.title_id, decode_programme(stored.programme), own_labels)
        return replace(facts, programme=programme)

    @property
    def _archive_prefixes(self) -> list[str]:
        """How the paths of all the channel's recordings begin, of those that name them."""
        prefixes = (archive_prefix(template) for template in (self.record.catchup_media or {}).values())
        return [prefix for prefix in prefixes if prefix]


class LiveChannel(LiveItem):
    """A channel, as it is broadcast."""

    @property
    def is_live(self) -> bool:
        return True

    def facts_for(self, viewer: ViewerFacts) -> TitleFacts:
        return self.channel_facts(viewer.title_rules)

    def is_visible(self, country: str | None, max_age: int | None, rules: TitleRules | None) -> bool:
        facts = self.channel_facts(None)
        return is_age_allowed(facts.min_age, max_age) and (rules is None or rules.allow(facts.title_id, facts.genres))

    def owns_folder(self, location: MediaLocation) -> bool:
        """Not if recordings lie in it whose names have nothing in common."""
        return location.folder not in self._archive_prefixes

    def denied_paths(self, folders: Iterable[str]) -> list[str]:
        """Return the recordings: each has its own age rating."""
        return [f"{prefix}*" for prefix in self._archive_prefixes if prefix not in folders]


class CatchupProgramme(LiveItem):
    """A programme that was broadcast, or is on."""

    def facts_for(self, viewer: ViewerFacts) -> TitleFacts:
        facts, stored = self.channel_facts(viewer.title_rules), self.stored
        until = available_until(stored.ends_at, self.record.catchup_hours)
        return replace(
            facts,
            min_age=strictest_age(facts.min_age, stored.min_age),
            windows=catchup_windows(facts.windows, stored.starts_at, until),
        )

    def is_visible(self, country: str | None, max_age: int | None, rules: TitleRules | None) -> bool:
        facts, viewer = self.channel_facts(rules), ViewerFacts(max_age=max_age, title_rules=rules)
        if facts.programme is None or not is_programme_listed(facts, facts.programme, viewer):
            return False
        return rules is None or rules.allow(facts.title_id, facts.genres)

    def owns_folder(self, location: MediaLocation) -> bool:
        """Whether the folder is the recording's alone; one whose URL differs in its query alone is where it is live."""
        return not any(prefix.startswith(location.folder) for prefix in self._archive_prefixes)
