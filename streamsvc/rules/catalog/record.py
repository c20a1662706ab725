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

LONGEST_LINE_BYTES = 1 << 20
MOST_POPULAR = 2**30 - 1

Line = Annotated[str, Meta(min_length=1, max_length=500)]
Prose = Annotated[str, Meta(max_length=20_000)]
Key = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^\S(.*\S)?$")]
Code = Annotated[str, Meta(min_length=1, max_length=64)]
Country = Annotated[str, Meta(pattern=r"^[A-Za-z]{2}$")]
Url = Annotated[str, Meta(min_length=1, max_length=2_000, pattern=r"^(https?://|/)[^\s<>\"]+$")]
Seconds = Annotated[int, Meta(ge=1, le=10_000_000)]
Mark = Annotated[int, Meta(ge=0, le=10_000_000)] | Annotated[float, Meta(ge=0, le=10_000_000)]
Year = Annotated[int, Meta(ge=1870, le=2200)]
Pixels = Annotated[int, Meta(ge=1, le=100_000)]
Number = Annotated[int, Meta(ge=0, le=100_000)]
Moment = Annotated[datetime, Meta(tz=True)]
Media = dict[Code, Url]
Markers = dict[Code, Mark]


class _Part(Struct, omit_defaults=True, forbid_unknown_fields=True, frozen=True):
    pass


class Localization(_Part):
    title: Line | None = None
    synopsis: Prose | None = None


class Window(_Part):
    countries: Annotated[list[Country], Meta(min_length=1, max_length=300)] | None = None
    starts_at: Moment | None = None
    ends_at: Moment | None = None


class Credit(_Part):
    name: Line
    role: Code
    character: Line | None = None


class Artwork(_Part):
    role: Code
    url: Url
    width: Pixels | None = None
    height: Pixels | None = None
    language: Code | None = None


class Track(_Part):
    kind: Literal["audio", "audio_description", "caption", "subtitle"]
    language: Code


class Extra(_Part):
    kind: Literal["trailer", "teaser", "clip", "bonus", "interview"]
    title: Line
    runtime_s: Seconds | None = None
    media: Media | None = None


class Episode(_Part):
    number: Number
    title: Line | None = None
    synopsis: Prose | None = None
    runtime_s: Seconds | None = None
    released_on: date | None = None
    media: Media | None = None
    markers: Markers | None = None
    artwork: Annotated[list[Artwork], Meta(max_length=50)] | None = []


class Season(_Part):
    number: Number
    title: Line | None = None
    episodes: Annotated[list[Episode], Meta(max_length=5_000)] | None = []


class Title(_Part):
    """`windows` None: everywhere, always; empty: nowhere. `plans` None: every plan; empty: none."""

    external_id: Key
    kind: Literal["movie", "series"]
    title: Line
    original_title: Line | None = None
    year: Year | None = None
    runtime_s: Seconds | None = None
    genres: Annotated[list[Code], Meta(max_length=50)] | None = []
    synopsis: Prose | None = None
    age_rating: Code | None = None
    languages: Annotated[list[Code], Meta(max_length=50)] | None = []
    countries: Annotated[list[Country], Meta(max_length=100)] | None = []
    localizations: Annotated[dict[Code, Localization], Meta(max_length=200)] | None = {}
    windows: Annotated[list[Window], Meta(max_length=500)] | None = None
    plans: Annotated[list[Code], Meta(max_length=100)] | None = None
    credits: Annotated[list[Credit], Meta(max_length=2_000)] | None = []
    artwork: Annotated[list[Artwork], Meta(max_length=200)] | None = []
    external_ids: Annotated[dict[Code, Key], Meta(max_length=50)] | None = {}
    media: Media | None = None
    markers: Markers | None = None
    seasons: Annotated[list[Season], Meta(max_length=500)] | None = []
    tracks: Annotated[list[Track], Meta(max_length=300)] | None = []
    extras: Annotated[list[Extra], Meta(max_length=200)] | None = []
    popularity: Annotated[int, Meta(ge=0, le=MOST_POPULAR)] | None = None

    @property
    def rating(self) -> maturity.Rating | None:
        return maturity.rating(self.age_rating) if self.age_rating else None

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


class Flaw(NamedTuple):
    """Why a record is not taken: the field, a code to match on, a sentence."""

    field: str
    code: str
    reason: str


class Flawed(Exception):
    def __init__(self, *flaws: Flaw):
        super().__init__("; ".join(flaw.reason for flaw in flaws))
        self.flaws = flaws


_decoder = msgspec.json.Decoder(Title)
_encoder = msgspec.json.Encoder(order="deterministic")


def decoded(line: bytes) -> Title:
    """The record in one line of JSON. Raises Flawed."""
    try:
        return settled(_decoder.decode(line))
    except msgspec.ValidationError as error:
        raise Flawed(_flaw(str(error))) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Flawed(Flaw("", "malformed", f"The line is not JSON in UTF-8: {str(error)[:200]}")) from None


def converted(value: Any, from_text: bool = False) -> Title:
    """The record in a JSON value that was read before; `from_text` takes "1994" for a number. Raises Flawed."""
    try:
        return settled(msgspec.convert(value, Title, strict=not from_text))
    except msgspec.ValidationError as error:
        raise Flawed(_flaw(str(error))) from None


def kept(text: str) -> Title:
    """The record that `encoded` wrote."""
    return _decoder.decode(text)


def encoded(record: Title) -> str:
    """The record in the one form in which it is kept, compared and exported."""
    return _encoder.encode(record).decode()


_KINDS = (
    ("missing required field", "missing"),
    ("unknown field", "unknown_field"),
    ("of length", "out_of_range"),
    ("out of range", "out_of_range"),
    (" >= ", "out_of_range"),
    (" <= ", "out_of_range"),
    ("matching regex", "invalid"),
    ("Expected `", "wrong_type"),
)
_FIELD_NAMED = re.compile(r"field `([^`]*)`")


def _flaw(message):
    """msgspec's sentence as a flaw: "Expected `int`, got `str` - at `$.windows[0].starts_at`"."""
    said, _, path = message.partition(" - at `$")
    field = path.rstrip("`").lstrip(".")
    if named := _FIELD_NAMED.search(said):
        field = f"{field}.{named[1]}" if field else named[1]
    code = next((code for words, code in _KINDS if words in said), "invalid")
    return Flaw(field.replace("[...]", ""), code, f"{said}.")


def settled(given: Title) -> Title:
    """The same record in its settled spelling: codes in their usual letters, nothing twice. Raises Flawed."""
    flaws: list[Flaw] = []
    given = _filled(given)
    record = msgspec.structs.replace(
        given,
        title=_plain(given.title),
        genres=_unique(filter(None, map(text.slug, given.genres))),
        age_rating=_tried(flaws, "age_rating", "unknown_rating", _rating_text, given.age_rating),
        languages=_unique(_tags(flaws, "languages", given.languages)),
        countries=_unique(_countries(flaws, "countries", given.countries)),
        localizations={
            tag: localization
            for name, localization in given.localizations.items()
            for tag in _tags(flaws, f"localizations.{name}", [name])
        },
        windows=given.windows and [_window(flaws, f"windows[{at}]", w) for at, w in enumerate(given.windows)],
        plans=given.plans and _unique(given.plans),
    )
    _check_seasons(flaws, record)
    try:
        if "\\u0000" in encoded(record):
            flaws.append(Flaw("", "control_character", "Text may not contain NUL."))
    except UnicodeEncodeError:
        flaws.append(Flaw("", "malformed", "The text is not well-formed Unicode."))
    if flaws:
        raise Flawed(*flaws)
    return record


def _filled(part):
    """The same with empty lists in place of nulls; seasons and episodes too."""
    nulls = {f.name: f.default_factory() for f in _LISTS[type(part)] if getattr(part, f.name) is None}
    if isinstance(part, Title) and part.seasons:
        nulls["seasons"] = [_filled(season) for season in part.seasons]
    if isinstance(part, Season) and part.episodes:
        nulls["episodes"] = [_filled(episode) for episode in part.episodes]
    return msgspec.structs.replace(part, **nulls) if nulls else part


_LISTS = {
    part: [f for f in msgspec.structs.fields(part) if f.default_factory is not msgspec.NODEFAULT]
    for part in (Title, Season, Episode)
}


def _window(flaws, field, window):
    def utc(moment):
        return moment and moment.astimezone(UTC)

    if window.starts_at and window.ends_at and window.starts_at >= window.ends_at:
        flaws.append(Flaw(f"{field}.ends_at", "out_of_range", "A window ends after it starts."))
    for name in ("starts_at", "ends_at"):
        moment = getattr(window, name)
        if moment and not 1900 <= moment.year <= 9000:
            flaws.append(Flaw(f"{field}.{name}", "out_of_range", "Give a year from 1900 to 9000."))
            return window
    countries = window.countries and sorted(set(_countries(flaws, f"{field}.countries", window.countries)))
    return Window(countries, utc(window.starts_at), utc(window.ends_at))


def _check_seasons(flaws, record):
    if record.kind == "movie" and record.seasons:
        flaws.append(Flaw("seasons", "not_allowed", "A movie has no seasons."))
    numbers = [season.number for season in record.seasons]
    if len(set(numbers)) < len(numbers):
        flaws.append(Flaw("seasons", "duplicate", "A season's number stands twice."))
    for at, season in enumerate(record.seasons):
        numbers = [episode.number for episode in season.episodes]
        if len(set(numbers)) < len(numbers):
            flaws.append(Flaw(f"seasons[{at}].episodes", "duplicate", "An episode's number stands twice."))


def _rating_text(name):
    return maturity.rating(name).text


def _tried(flaws, field, code, settle, value):
    try:
        return value and settle(value)
    except ValueError as error:
        flaws.append(Flaw(field, code, str(error)))
        return value


def _tags(flaws, field, tags):
    return [_tried(flaws, field, "unknown_language", codes.language, tag) for tag in tags]


def _countries(flaws, field, names):
    upper = [name.upper() for name in names]
    for unknown in set(upper) - codes.COUNTRIES:
        flaws.append(Flaw(field, "unknown_country", f"{unknown!r} is no country of ISO 3166-1."))
    return upper


def _unique(values):
    return list(dict.fromkeys(values))


def _plain(line):
    return unicodedata.normalize("NFC", line).strip() or line
