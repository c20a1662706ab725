"""The title record: one line of the catalogue file, checked and written in one way.

The record is what the operator says; tables and cards are made from it. Two records are the same when `encoded` says
so, whatever their spelling was: that is how a file imported twice changes nothing.
"""

import re
import unicodedata
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta, Struct

from streamsvc.rules import maturity
from streamsvc.rules.catalog import codes, text
from streamsvc.rules.playback.access import TitleFacts
from streamsvc.rules.playback.access import Window as AccessWindow

MAX_LINE_BYTES = 1 << 20
MAX_POPULARITY = 2**30 - 1

ShortText = Annotated[str, Meta(min_length=1, max_length=500)]
LongText = Annotated[str, Meta(max_length=20_000)]
Identifier = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^\S(.*\S)?$")]
Code = Annotated[str, Meta(min_length=1, max_length=64)]
Country = Annotated[str, Meta(pattern=r"^[A-Za-z]{2}$")]
Url = Annotated[str, Meta(min_length=1, max_length=2_000, pattern=r"^(https?://|/)[^\s<>\"]+$")]
Seconds = Annotated[int, Meta(ge=1, le=10_000_000)]
MarkerSeconds = Annotated[int, Meta(ge=0, le=10_000_000)] | Annotated[float, Meta(ge=0, le=10_000_000)]
Year = Annotated[int, Meta(ge=1870, le=2200)]
Pixels = Annotated[int, Meta(ge=1, le=100_000)]
Number = Annotated[int, Meta(ge=0, le=100_000)]
Moment = Annotated[datetime, Meta(tz=True)]
Media = dict[Code, Url]
Markers = dict[Code, MarkerSeconds]


class _RecordPart(Struct, omit_defaults=True, forbid_unknown_fields=True, frozen=True):
    pass


class Localization(_RecordPart):
    title: ShortText | None = None
    synopsis: LongText | None = None


class Window(_RecordPart):
    countries: Annotated[list[Country], Meta(min_length=1, max_length=300)] | None = None
    starts_at: Moment | None = None
    ends_at: Moment | None = None


class Credit(_RecordPart):
    name: ShortText
    role: Code
    character: ShortText | None = None


class Artwork(_RecordPart):
    role: Code
    url: Url
    width: Pixels | None = None
    height: Pixels | None = None
    language: Code | None = None


class Track(_RecordPart):
    kind: Literal["audio", "audio_description", "caption", "subtitle"]
    language: Code


class Extra(_RecordPart):
    kind: Literal["trailer", "teaser", "clip", "bonus", "interview"]
    title: ShortText
    runtime_s: Seconds | None = None
    media: Media | None = None


class Episode(_RecordPart):
    number: Number
    title: ShortText | None = None
    synopsis: LongText | None = None
    runtime_s: Seconds | None = None
    released_on: date | None = None
    media: Media | None = None
    markers: Markers | None = None
    artwork: Annotated[list[Artwork], Meta(max_length=50)] | None = []


class Season(_RecordPart):
    number: Number
    title: ShortText | None = None
    episodes: Annotated[list[Episode], Meta(max_length=5_000)] | None = []


class CatalogRecord(_RecordPart):
    """`windows` None: everywhere, always; empty: nowhere. `plans` None: every plan; empty: none."""

    external_id: Identifier
    kind: Literal["movie", "series"]
    title: ShortText
    original_title: ShortText | None = None
    year: Year | None = None
    runtime_s: Seconds | None = None
    genres: Annotated[list[Code], Meta(max_length=50)] | None = []
    synopsis: LongText | None = None
    age_rating: Code | None = None
    languages: Annotated[list[Code], Meta(max_length=50)] | None = []
    countries: Annotated[list[Country], Meta(max_length=100)] | None = []
    localizations: Annotated[dict[Code, Localization], Meta(max_length=200)] | None = {}
    windows: Annotated[list[Window], Meta(max_length=500)] | None = None
    plans: Annotated[list[Code], Meta(max_length=100)] | None = None
    credits: Annotated[list[Credit], Meta(max_length=2_000)] | None = []
    artwork: Annotated[list[Artwork], Meta(max_length=200)] | None = []
    external_ids: Annotated[dict[Code, Identifier], Meta(max_length=50)] | None = {}
    media: Media | None = None
    markers: Markers | None = None
    seasons: Annotated[list[Season], Meta(max_length=500)] | None = []
    tracks: Annotated[list[Track], Meta(max_length=300)] | None = []
    extras: Annotated[list[Extra], Meta(max_length=200)] | None = []
    popularity: Annotated[int, Meta(ge=0, le=MAX_POPULARITY)] | None = None

    @property
    def rating(self) -> maturity.AgeRating | None:
        return maturity.parse_age_rating(self.age_rating) if self.age_rating else None

    @property
    def facts(self) -> TitleFacts:
        """What the decision about access needs."""
        windows = self.windows and tuple(
            AccessWindow(w.countries and frozenset(w.countries), w.starts_at, w.ends_at) for w in self.windows
        )
        return TitleFacts(
            min_age=self.rating.min_age if self.rating else None,
            windows=() if self.windows == [] else windows,
            plans=None if self.plans is None else frozenset(self.plans),
        )


class FieldError(NamedTuple):
    """Why a record is not taken: the field, a code to match on, a sentence."""

    field: str
    code: str
    reason: str


class InvalidRecord(Exception):
    def __init__(self, *flaws: FieldError):
        super().__init__("; ".join(flaw.reason for flaw in flaws))
        self.errors = flaws


_decoder = msgspec.json.Decoder(CatalogRecord)
_encoder = msgspec.json.Encoder(order="deterministic")


def decode_record(line: bytes) -> CatalogRecord:
    """The record in one line of JSON. Raises Flawed."""
    try:
        return normalize_record(_decoder.decode(line))
    except msgspec.ValidationError as error:
        raise InvalidRecord(_field_error(str(error))) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRecord(FieldError("", "malformed", f"The line is not JSON in UTF-8: {str(error)[:200]}")) from None


def convert_record(value: Any, from_text: bool = False) -> CatalogRecord:
    """The record in a JSON value that was read before; `from_text` takes "1994" for a number. Raises Flawed."""
    try:
        return normalize_record(msgspec.convert(value, CatalogRecord, strict=not from_text))
    except msgspec.ValidationError as error:
        raise InvalidRecord(_field_error(str(error))) from None


def decode_stored_record(text: str) -> CatalogRecord:
    """The record that `encoded` wrote."""
    return _decoder.decode(text)


def encode_record(record: CatalogRecord) -> str:
    """The record in the one form in which it is kept, compared and exported."""
    return _encoder.encode(record).decode()


_ERROR_CODES = (
    ("missing required field", "missing"),
    ("unknown field", "unknown_field"),
    ("of length", "out_of_range"),
    ("out of range", "out_of_range"),
    (" >= ", "out_of_range"),
    (" <= ", "out_of_range"),
    ("matching regex", "invalid"),
    ("Expected `", "wrong_type"),
)
_FIELD_NAME = re.compile(r"field `([^`]*)`")


def _field_error(message):
    """msgspec's sentence as a flaw: "Expected `int`, got `str` - at `$.windows[0].starts_at`"."""
    said, _, path = message.partition(" - at `$")
    field = path.rstrip("`").lstrip(".")
    if named := _FIELD_NAME.search(said):
        field = f"{field}.{named[1]}" if field else named[1]
    code = next((code for words, code in _ERROR_CODES if words in said), "invalid")
    return FieldError(field.replace("[...]", ""), code, f"{said}.")


def normalize_record(given: CatalogRecord) -> CatalogRecord:
    """The same record in its settled spelling: codes in their usual letters, nothing twice. Raises Flawed."""
    flaws: list[FieldError] = []
    given = _replace_nulls(given)
    record = msgspec.structs.replace(
        given,
        title=_normalize_text(given.title),
        genres=_unique(filter(None, map(text.slugify, given.genres))),
        age_rating=_normalize_or_report(flaws, "age_rating", "unknown_rating", _normalize_age_rating, given.age_rating),
        languages=_unique(_normalize_languages(flaws, "languages", given.languages)),
        countries=_unique(_normalize_countries(flaws, "countries", given.countries)),
        localizations={
            tag: localization
            for name, localization in given.localizations.items()
            for tag in _normalize_languages(flaws, f"localizations.{name}", [name])
        },
        windows=given.windows and [_normalize_window(flaws, f"windows[{at}]", w) for at, w in enumerate(given.windows)],
        plans=given.plans and _unique(given.plans),
    )
    _check_seasons(flaws, record)
    try:
        if "\\u0000" in encode_record(record):
            flaws.append(FieldError("", "control_character", "Text may not contain NUL."))
    except UnicodeEncodeError:
        flaws.append(FieldError("", "malformed", "The text is not well-formed Unicode."))
    if flaws:
        raise InvalidRecord(*flaws)
    return record


def _replace_nulls(part):
    """The same with empty lists in place of nulls; seasons and episodes too."""
    nulls = {f.name: f.default_factory() for f in _LIST_FIELDS[type(part)] if getattr(part, f.name) is None}
    if isinstance(part, CatalogRecord) and part.seasons:
        nulls["seasons"] = [_replace_nulls(season) for season in part.seasons]
    if isinstance(part, Season) and part.episodes:
        nulls["episodes"] = [_replace_nulls(episode) for episode in part.episodes]
    return msgspec.structs.replace(part, **nulls) if nulls else part


_LIST_FIELDS = {
    part: [f for f in msgspec.structs.fields(part) if f.default_factory is not msgspec.NODEFAULT]
    for part in (CatalogRecord, Season, Episode)
}


def _normalize_window(errors, field, window):
    def utc(moment):
        return moment and moment.astimezone(UTC)

    if window.starts_at and window.ends_at and window.starts_at >= window.ends_at:
        errors.append(FieldError(f"{field}.ends_at", "out_of_range", "A window ends after it starts."))
    for name in ("starts_at", "ends_at"):
        moment = getattr(window, name)
        if moment and not 1900 <= moment.year <= 9000:
            errors.append(FieldError(f"{field}.{name}", "out_of_range", "Give a year from 1900 to 9000."))
            return window
    countries = window.countries and sorted(set(_normalize_countries(errors, f"{field}.countries", window.countries)))
    return Window(countries, utc(window.starts_at), utc(window.ends_at))


def _check_seasons(errors, record):
    if record.kind == "movie" and record.seasons:
        errors.append(FieldError("seasons", "not_allowed", "A movie has no seasons."))
    numbers = [season.number for season in record.seasons]
    if len(set(numbers)) < len(numbers):
        errors.append(FieldError("seasons", "duplicate", "A season's number stands twice."))
    for at, season in enumerate(record.seasons):
        numbers = [episode.number for episode in season.episodes]
        if len(set(numbers)) < len(numbers):
            errors.append(FieldError(f"seasons[{at}].episodes", "duplicate", "An episode's number stands twice."))


def _normalize_age_rating(name):
    return maturity.parse_age_rating(name).text


def _normalize_or_report(errors, field, code, normalize, value):
    try:
        return value and normalize(value)
    except ValueError as error:
        errors.append(FieldError(field, code, str(error)))
        return value


def _normalize_languages(errors, field, tags):
    return [_normalize_or_report(errors, field, "unknown_language", codes.normalize_language_tag, tag) for tag in tags]


def _normalize_countries(errors, field, names):
    upper = [name.upper() for name in names]
    for unknown in set(upper) - codes.COUNTRIES:
        errors.append(FieldError(field, "unknown_country", f"{unknown!r} is no country of ISO 3166-1."))
    return upper


def _unique(values):
    return list(dict.fromkeys(values))


def _normalize_text(line):
    return unicodedata.normalize("NFC", line).strip() or line
