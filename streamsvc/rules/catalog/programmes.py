"""Programmes of a channel's guide: their records, and the schedule that they make.

A programme is identified by its channel and its start. So its public id is computed from both: it is the same after
every import, and after a guide that once left it out.
"""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from streamsvc.rules import maturity
from streamsvc.rules.catalog.codes import language_fallbacks
from streamsvc.rules.catalog.record import Artwork, LongText, Number, ShortText
from streamsvc.rules.maturity import UNRATED_AGE_GATE
from streamsvc.rules.playback.access import (
    ProgrammeFacts,
    TitleFacts,
    ViewerFacts,
    is_age_allowed,
    is_programme_allowed,
)

PROGRAMME_PREFIX, CHANNEL_PREFIX = "prg_", "chn_"
MAX_DURATION = timedelta(days=1)
"""A longer programme is cut."""
Labels = tuple[frozenset[str], frozenset[str]]
"""The codes of a title's genres, and of its tags."""
NO_LABELS: Labels = (frozenset(), frozenset())
_DIGITS = "0123456789abcdefghijklmnopqrstuv"


class ProgrammeText(msgspec.Struct, omit_defaults=True, frozen=True):
    """The texts of a programme in one language."""

    title: ShortText
    subtitle: ShortText | None = None
    synopsis: LongText | None = None


class ProgrammeRecord(msgspec.Struct, omit_defaults=True, frozen=True):
    """What a guide says of a programme, apart from its times."""

    title: ShortText
    subtitle: ShortText | None = None
    synopsis: LongText | None = None
    localizations: dict[str, ProgrammeText] = {}
    genres: list[Annotated[str, Meta(min_length=1, max_length=64)]] = []
    age_rating: str | None = None
    has_unknown_rating: bool = False
    """It has a rating that no rating system here has: it counts as above every age limit."""
    season: Number | None = None
    episode: Number | None = None
    is_repeat: bool = False
    artwork: list[Artwork] = []
    imdb_id: str | None = None

    @property
    def min_age(self) -> int | None:
        if self.has_unknown_rating:
            return UNRATED_AGE_GATE
        return maturity.parse_age_rating(self.age_rating).min_age if self.age_rating else None

    def text(self, language: str | None) -> "ProgrammeRecord | ProgrammeText":
        """Return the texts in the closest language available, else in the guide's first."""
        tags = language_fallbacks(language)
        return next((self.localizations[tag] for tag in tags if tag in self.localizations), self)


class Airing(NamedTuple):
    """A programme with its times; `ends_at` None: until the next one starts."""

    starts_at: datetime
    ends_at: datetime | None
    record: ProgrammeRecord


_encoder = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder(ProgrammeRecord)


def encode_programme(record: ProgrammeRecord) -> str:
    """Return a record as the canonical JSON in which it is stored and compared."""
    return _encoder.encode(record).decode()


def decode_programme(text: str | bytes) -> ProgrammeRecord:
    """Return the record in text that `encode_programme` returned."""
    return _decoder.decode(text)


def programme_id(channel_id: str, starts_at: datetime) -> str:
    """Return the id of a programme: 26 digits in base 32 hex, of its start in milliseconds and 80 bits of a hash."""
    start_ms = int(starts_at.timestamp() * 1_000)
    digest = hashlib.sha256(f"{channel_id} {start_ms}".encode()).digest()
    number = start_ms << 82 | int.from_bytes(digest[:10]) << 2
    return PROGRAMME_PREFIX + "".join(_DIGITS[number >> shift & 31] for shift in range(125, -1, -5))


def build_schedule(airings: Iterable[Airing]) -> list[Airing]:
    """Return the programmes in order, each with an end, so that at any time at most one is on.

    A programme ends at the latest when the next one starts. Of several with the same start the last one counts. The
    last programme is left out if it has no end.
    """
    by_start = {airing.starts_at: airing for airing in airings}
    ordered = [by_start[starts_at] for starts_at in sorted(by_start)]
    schedule = [_end_by(following.starts_at, airing) for airing, following in pairwise(ordered)]
    return schedule + [_end_by(airing.ends_at, airing) for airing in ordered[-1:] if airing.ends_at]


def _end_by(latest: datetime, airing: Airing) -> Airing:
    return airing._replace(ends_at=min(airing.ends_at or latest, latest, airing.starts_at + MAX_DURATION))


def covered_range(schedule: Sequence[Airing]) -> tuple[datetime, datetime]:
    """Return the start of the first programme and the end of the last one."""
    return schedule[0].starts_at, schedule[-1].ends_at or schedule[-1].starts_at


def programme_facts(
    min_age: int | None, title_id: str | None, record: ProgrammeRecord, labels: Labels = NO_LABELS
) -> ProgrammeFacts:
    """Return what access to a channel depends on while the programme is on. `labels`: of the title that it broadcasts.

    They matter only to a profile with title rules.
    """
    genres, tags = labels
    return ProgrammeFacts(min_age, title_id, genres.union(record.genres), tags)


def strictest_age(channel_min_age: int | None, programme_min_age: int | None) -> int | None:
    """Return the minimum age for a programme on a channel; None, which counts as unrated, on an unrated channel."""
    return None if channel_min_age is None else max(channel_min_age, programme_min_age or 0)


def is_programme_listed(channel: TitleFacts, programme: ProgrammeFacts, viewer: ViewerFacts) -> bool:
    """Whether the guide of a listed channel shows the programme: unless the profile's limits forbid it."""
    age = strictest_age(channel.min_age, programme.min_age)
    return is_age_allowed(age, viewer.max_age) and is_programme_allowed(programme, viewer)
