"""Channel records: live channels as operators write them, validated and normalized.

What a channel shares with a title (windows, plans, rating, artwork, media) is validated as that of a title record.
"""

import re
from datetime import datetime
from typing import Annotated, Any, Literal
from zoneinfo import available_timezones

import msgspec
from msgspec import Meta

from streamsvc.rules import maturity
from streamsvc.rules.catalog.record import (
    Artwork,
    CatalogRecord,
    Code,
    Country,
    FieldError,
    Identifier,
    InvalidRecord,
    LongText,
    Media,
    OrNull,
    ShortText,
    Variant,
    Window,
    convert_part,
    normalize_record,
)
from streamsvc.rules.playback.access import TitleFacts
from streamsvc.rules.playback.catchup import check_template
from streamsvc.rules.playback.drm import DrmKey

MAX_CATCHUP_HOURS = 31 * 24
UNNUMBERED = 10**9
"""The position of channels without a number: after all others."""
SHARED_FIELDS = (
    "external_id", "genres", "synopsis", "age_rating", "languages", "countries", "windows", "plans", "artwork", "media",
    "variants", "drm_keys",
)  # fmt: skip
"""What a channel record has in common with a title record."""


class ChannelRecord(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True, frozen=True):
    """A live channel. `windows`, `plans` and `age_rating` are as in a title record."""

    external_id: Identifier
    name: ShortText
    kind: Literal["channel"] = "channel"
    number: Annotated[str, Meta(pattern=r"^[0-9]{1,5}([.-][0-9]{1,3})?$")] | None = None
    """As it is shown, such as `7` or `7.2`; channels are listed in its order."""
    group: ShortText | None = None
    guide_id: Identifier | None = None
    """The channel's id in XMLTV guides, if it is not the external id. Several channels may have one guide."""
    genres: OrNull[Annotated[list[Code], Meta(max_length=50)]] = []
    synopsis: LongText | None = None
    age_rating: Code | None = None
    languages: OrNull[Annotated[list[Code], Meta(max_length=50)]] = []
    countries: OrNull[Annotated[list[Country], Meta(max_length=100)]] = []
    windows: Annotated[list[Window], Meta(max_length=500)] | None = None
    plans: Annotated[list[Code], Meta(max_length=100)] | None = None
    artwork: OrNull[Annotated[list[Artwork], Meta(max_length=200)]] = []
    media: Media | None = None
    variants: OrNull[Annotated[list[Variant], Meta(max_length=50)]] = []
    drm_keys: OrNull[Annotated[list[DrmKey], Meta(max_length=50)]] = []
    catchup_hours: Annotated[int, Meta(ge=1, le=MAX_CATCHUP_HOURS)] | None = None
    """How long a programme can be played after its end; null: the channel has no catch-up."""
    catchup_media: Media | None = None
    """URL templates of the archive by type, with `{start}`, `{end}` and `{duration}`."""
    time_zone: Code | None = None
    """The IANA time zone of the calendar times in catch-up templates. Default: UTC."""

    @property
    def guide_key(self) -> str:
        return self.guide_id or self.external_id

    @property
    def position(self) -> int:
        """The sort key of lists."""
        major, _, minor = (self.number or "").replace("-", ".").partition(".")
        return int(major) * 1_000 + int(minor or 0) if major else UNNUMBERED

    @property
    def rating(self) -> maturity.AgeRating | None:
        return maturity.parse_age_rating(self.age_rating) if self.age_rating else None

    def facts(self, channel_id: str) -> TitleFacts:
        """The facts for access decisions."""
        windows = None if self.windows is None else tuple(window.facts for window in self.windows)
        return TitleFacts(
            min_age=self.rating.min_age if self.rating else None,
            windows=windows,
            plans=None if self.plans is None else frozenset(self.plans),
            title_id=channel_id,
            genres=frozenset(self.genres),
        )


_IS_CHANNEL = re.compile(rb'"kind"\s*:\s*"channel"')
_encoder = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder(ChannelRecord)


class _Kind(msgspec.Struct):
    kind: Any = None


_kind_decoder = msgspec.json.Decoder(_Kind)


def is_channel_line(line: bytes) -> bool:
    """Whether a line of a catalogue file is a channel's record."""
    if not _IS_CHANNEL.search(line):
        return False
    try:
        return bool(_kind_decoder.decode(line).kind == "channel")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def decode_channel_members(line: bytes) -> dict[str, Any]:
    """Return the members of the record in a line of JSON, not yet validated. Raises InvalidRecord."""
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRecord(FieldError("", "malformed", f"The line is not JSON in UTF-8: {str(error)[:200]}")) from None


def convert_channel(value: Any) -> ChannelRecord:
    """Return the normalized record in a JSON value. Raises InvalidRecord."""
    return normalize_channel(convert_part(value, ChannelRecord))


def decode_stored_channel(text: str) -> ChannelRecord:
    """Return the record in text that `encode_channel` returned."""
    return _decoder.decode(text)


def encode_channel(record: ChannelRecord) -> str:
    """Return a record as the canonical JSON in which it is stored and compared."""
    return _encoder.encode(record).decode()


def normalize_channel(record: ChannelRecord) -> ChannelRecord:
    """Return the record with codes in their usual case and without duplicates. Raises InvalidRecord."""
    errors = [*_check_catchup(record)]
    if record.time_zone and record.time_zone not in available_timezones():
        errors.append(FieldError("time_zone", "invalid", "Must be an IANA time zone such as Europe/Berlin."))
    values = {name: getattr(record, name) for name in SHARED_FIELDS}
    shared: CatalogRecord | None = None
    try:
        shared = normalize_record(CatalogRecord(kind="movie", title=record.name, **values))
    except InvalidRecord as invalid:
        errors += [error._replace(field="name") if error.field == "title" else error for error in invalid.errors]
    text = "".join(filter(None, (record.group, record.guide_id)))
    if "\0" in text or not text.isprintable():
        errors.append(FieldError("", "control_character", "Text must be well-formed, without control characters."))
    if errors or shared is None:
        raise InvalidRecord(*errors)
    return msgspec.structs.replace(record, name=shared.title, **{name: getattr(shared, name) for name in SHARED_FIELDS})


def _check_catchup(record: ChannelRecord) -> list[FieldError]:
    errors = []
    for kind, template in (record.catchup_media or {}).items():
        try:
            check_template(template)
        except ValueError as error:
            errors.append(FieldError(f"catchup_media.{kind}", "invalid", str(error)))
    if record.catchup_media and record.catchup_hours is None:
        errors.append(FieldError("catchup_hours", "missing", "Required with catchup_media."))
    return errors


def matches(
    record: ChannelRecord, genre: str | None, group: str | None, language: str | None, country: str | None
) -> bool:
    """Whether a channel matches the filters of a list, each None for any. `en` also finds `en-GB`."""
    languages = {tag for name in record.languages for tag in (name, name.split("-")[0])}
    return (
        (genre is None or genre in record.genres)
        and (group is None or group == record.group)
        and (language is None or language in languages)
        and (country is None or country in record.countries)
    )


def window_times(record: ChannelRecord) -> list[datetime]:
    """Return when the channel's windows start and end, in any order."""
    return [time for window in record.windows or () for time in (window.starts_at, window.ends_at) if time]
