"""The title record: one line of the catalogue file, validated and normalized.

The record is the operator's input; tables and cards are built from it. Two records are equal if `encode_record` returns
the same text for both, however they were written, so importing a file twice changes nothing.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, TypeVar

import msgspec
from msgspec import Meta, Struct

from streamsvc.rules import maturity
from streamsvc.rules.catalog import codes, extra_media, sorting, text
from streamsvc.rules.playback.access import TitleFacts
from streamsvc.rules.playback.access import Window as AccessWindow
from streamsvc.rules.playback.drm import DrmKey
from streamsvc.rules.playback.media_paths import canonical_path, parse_media_url

MAX_LINE_BYTES = 1 << 20
MAX_POPULARITY = 2**30 - 1

ShortText = Annotated[str, Meta(min_length=1, max_length=500)]
LongText = Annotated[str, Meta(max_length=20_000)]
Identifier = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^\S(.*\S)?$")]
Code = Annotated[str, Meta(min_length=1, max_length=64)]
Country = Annotated[str, Meta(pattern=r"^[A-Za-z]{2}$")]
Url = Annotated[str, Meta(min_length=1, max_length=2_000, pattern=r'^(https?://|/)[^\s<>"]+$')]
Seconds = Annotated[int, Meta(ge=1, le=10_000_000)]
MarkerSeconds = Annotated[int, Meta(ge=0, le=10_000_000)] | Annotated[float, Meta(ge=0, le=10_000_000)]
Year = Annotated[int, Meta(ge=1870, le=2200)]
Pixels = Annotated[int, Meta(ge=1, le=100_000)]
Number = Annotated[int, Meta(ge=0, le=100_000)]
Moment = Annotated[datetime, Meta(tz=True)]
Media = dict[Code, Url]
Markers = dict[Code, MarkerSeconds]


Value = TypeVar("Value")
Name = TypeVar("Name", str, str | None)
if TYPE_CHECKING:
    OrNull = Annotated[Value, "null in the input"]
else:

    class OrNull:
        """Type of a list or object that may be null in the input; `normalize_record` replaces the null."""

        def __class_getitem__(cls, value_type):
            return value_type | None


class _RecordPart(Struct, omit_defaults=True, forbid_unknown_fields=True, frozen=True):
    """The base of a record's objects."""


class Localization(_RecordPart, frozen=True):
    title: ShortText | None = None
    synopsis: LongText | None = None


class Window(_RecordPart, frozen=True):
    countries: Annotated[list[Country], Meta(min_length=1, max_length=300)] | None = None
    starts_at: Moment | None = None
    ends_at: Moment | None = None

    @property
    def facts(self) -> AccessWindow:
        """The facts for access decisions."""
        return AccessWindow(frozenset(self.countries) if self.countries else None, self.starts_at, self.ends_at)


class Credit(_RecordPart, frozen=True):
    """`person` identifies who is meant; a credit without it is joined by the name."""

    name: ShortText
    role: Code
    character: ShortText | None = None
    person: Identifier | None = None


class AlternativeTitle(_RecordPart, frozen=True):
    """Another name under which the title is known and found, such as a working title."""

    title: ShortText
    language: Code | None = None
    country: Country | None = None
    kind: Code | None = None


class Artwork(_RecordPart, frozen=True):
    role: Code
    url: Url
    width: Pixels | None = None
    height: Pixels | None = None
    language: Code | None = None


class Track(_RecordPart, frozen=True):
    kind: Literal["audio", "audio_description", "caption", "subtitle"]
    language: Code


class Variant(_RecordPart, frozen=True):
    """Files of one picture height, in lines; None for audio and subtitles. A path that ends in `/` is a folder; one
    without a leading slash is below the folder of each manifest."""

    path: Annotated[str, Meta(min_length=1, max_length=1_000)]
    height: Pixels | None = None


class Extra(_RecordPart, frozen=True):
    """A trailer or bonus material. `windows` and `age_rating` None: those of the title."""

    kind: Literal["trailer", "teaser", "clip", "bonus", "interview"]
    title: ShortText
    runtime_s: Seconds | None = None
    media: Media | None = None
    external_id: Identifier | None = None
    variants: OrNull[Annotated[list[Variant], Meta(max_length=50)]] = []
    drm_keys: OrNull[Annotated[list[DrmKey], Meta(max_length=50)]] = []
    artwork: OrNull[Annotated[list[Artwork], Meta(max_length=50)]] = []
    tracks: OrNull[Annotated[list[Track], Meta(max_length=300)]] = []
    windows: Annotated[list[Window], Meta(max_length=500)] | None = None
    age_rating: Code | None = None


class Episode(_RecordPart, frozen=True):
    """An episode. `windows`, `plans` and `age_rating` None: those of the season, else of the series."""

    number: Number
    title: ShortText | None = None
    synopsis: LongText | None = None
    runtime_s: Seconds | None = None
    released_on: date | None = None
    media: Media | None = None
    variants: OrNull[Annotated[list[Variant], Meta(max_length=50)]] = []
    drm_keys: OrNull[Annotated[list[DrmKey], Meta(max_length=50)]] = []
    markers: Markers | None = None
    artwork: OrNull[Annotated[list[Artwork], Meta(max_length=50)]] = []
    windows: Annotated[list[Window], Meta(max_length=500)] | None = None
    plans: Annotated[list[Code], Meta(max_length=100)] | None = None
    age_rating: Code | None = None
    tracks: OrNull[Annotated[list[Track], Meta(max_length=300)]] = []
    localizations: OrNull[Annotated[dict[Code, Localization], Meta(max_length=200)]] = {}
    external_ids: OrNull[Annotated[dict[Code, Identifier], Meta(max_length=50)]] = {}


class Season(_RecordPart, frozen=True):
    """A season. `windows`, `plans` and `age_rating` are the defaults of its episodes."""

    number: Number
    title: ShortText | None = None
    synopsis: LongText | None = None
    artwork: OrNull[Annotated[list[Artwork], Meta(max_length=50)]] = []
    episodes: OrNull[Annotated[list[Episode], Meta(max_length=5_000)]] = []
    windows: Annotated[list[Window], Meta(max_length=500)] | None = None
    plans: Annotated[list[Code], Meta(max_length=100)] | None = None
    age_rating: Code | None = None


class CatalogRecord(_RecordPart, frozen=True):
    """A title record. `windows` None: everywhere, always; empty: nowhere. `plans` None: every plan; empty: none."""

    external_id: Identifier
    kind: Literal["movie", "series"]
    title: ShortText
    original_title: ShortText | None = None
    year: Year | None = None
    runtime_s: Seconds | None = None
    genres: OrNull[Annotated[list[Code], Meta(max_length=50)]] = []
    synopsis: LongText | None = None
    age_rating: Code | None = None
    age_ratings: OrNull[Annotated[list[Code], Meta(max_length=100)]] = []
    languages: OrNull[Annotated[list[Code], Meta(max_length=50)]] = []
    countries: OrNull[Annotated[list[Country], Meta(max_length=100)]] = []
    localizations: OrNull[Annotated[dict[Code, Localization], Meta(max_length=200)]] = {}
    windows: Annotated[list[Window], Meta(max_length=500)] | None = None
    plans: Annotated[list[Code], Meta(max_length=100)] | None = None
    credits: OrNull[Annotated[list[Credit], Meta(max_length=2_000)]] = []
    artwork: OrNull[Annotated[list[Artwork], Meta(max_length=200)]] = []
    external_ids: OrNull[Annotated[dict[Code, Identifier], Meta(max_length=50)]] = {}
    media: Media | None = None
    variants: OrNull[Annotated[list[Variant], Meta(max_length=50)]] = []
    drm_keys: OrNull[Annotated[list[DrmKey], Meta(max_length=50)]] = []
    markers: Markers | None = None
    seasons: OrNull[Annotated[list[Season], Meta(max_length=500)]] = []
    tracks: OrNull[Annotated[list[Track], Meta(max_length=300)]] = []
    extras: OrNull[Annotated[list[Extra], Meta(max_length=200)]] = []
    popularity: Annotated[int, Meta(ge=0, le=MAX_POPULARITY)] | None = None
    tags: OrNull[Annotated[list[Code], Meta(max_length=200)]] = []
    studios: OrNull[Annotated[list[ShortText], Meta(max_length=50)]] = []
    alternative_titles: OrNull[Annotated[list[AlternativeTitle], Meta(max_length=200)]] = []
    sort_title: ShortText | None = None
    adult: bool = False

    @property
    def rating(self) -> maturity.AgeRating | None:
        if self.age_rating:
            return maturity.parse_age_rating(self.age_rating)
        return maturity.ADULT_RATING if self.adult else None

    @property
    def min_age(self) -> int | None:
        """The age that a profile's limit is compared with; that of an adult title is above every limit."""
        if self.adult:
            return maturity.ADULT_AGE_GATE
        return self.rating.min_age if self.rating else None

    @property
    def sort_key(self) -> str:
        """The key by which lists sort the title."""
        if self.sort_title:
            return sorting.explicit_sort_key(self.sort_title)
        return sorting.sort_key(self.title, self._title_language())

    def _title_language(self) -> str | None:
        """The language of `title`: that of the localization with the same text; else, if the title is the original
        one, the first of `languages`; English if there is none or the title is a translation."""
        same = [tag for tag, localization in self.localizations.items() if localization.title == self.title]
        is_original = self.original_title in (None, self.title)
        return next(iter([*same, *(self.languages if is_original else ())]), sorting.DEFAULT_LANGUAGE)

    @property
    def all_ratings(self) -> list[maturity.AgeRating]:
        """The main rating, if there is one, then those of countries."""
        return [*filter(None, [self.rating]), *self.ratings_by_country.values()]

    @property
    def ratings_by_country(self) -> dict[str, maturity.AgeRating]:
        """The ratings that decide instead of `rating`, by country; none of an adult title."""
        if self.adult:
            return {}
        return {rating.system: rating for rating in map(maturity.parse_age_rating, self.age_ratings)}

    @property
    def facts(self) -> TitleFacts:
        """The facts for access decisions."""
        windows = None if self.windows is None else tuple(window.facts for window in self.windows)
        return TitleFacts(
            min_age=self.min_age,
            windows=windows,
            plans=None if self.plans is None else frozenset(self.plans),
            min_ages={country: rating.min_age for country, rating in self.ratings_by_country.items()},
        )


class FieldError(NamedTuple):
    """Why a record is invalid: the field, a code to match on, a sentence."""

    field: str
    code: str
    reason: str


class InvalidRecord(Exception):
    """A record that fails validation, with all its errors."""

    def __init__(self, *errors: FieldError):
        super().__init__("; ".join(error.reason for error in errors))
        self.errors = errors


_decoder = msgspec.json.Decoder(CatalogRecord)
_encoder = msgspec.json.Encoder(order="deterministic")


def decode_record(line: bytes) -> CatalogRecord:
    """Return the normalized record in a line of JSON. Raises InvalidRecord."""
    try:
        return normalize_record(_decoder.decode(line))
    except msgspec.ValidationError as error:
        raise InvalidRecord(translate_error(str(error))) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRecord(FieldError("", "malformed", f"The line is not JSON in UTF-8: {str(error)[:200]}")) from None


def convert_record(value: Any, from_text: bool = False) -> CatalogRecord:
    """Return the normalized record in a JSON value; `from_text` accepts "1994" as a number. Raises InvalidRecord."""
    try:
        return normalize_record(msgspec.convert(value, CatalogRecord, strict=not from_text))
    except msgspec.ValidationError as error:
        raise InvalidRecord(translate_error(str(error))) from None
    except UnicodeEncodeError:
        raise InvalidRecord(FieldError("", "malformed", "Text must be well-formed Unicode.")) from None


def convert_part(value: Any, kind: type[Value]) -> Value:
    """Return a JSON value as an instance of another kind of record, as it is. Raises InvalidRecord."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise InvalidRecord(translate_error(str(error), kind)) from None


def decode_stored_record(text: str) -> CatalogRecord:
    """Return the record in text that `encode_record` returned."""
    return _decoder.decode(text)


def encode_record(record: CatalogRecord) -> str:
    """Return a record as the canonical JSON in which it is stored, compared and exported."""
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


def translate_error(message: str, record_type: Any = None) -> FieldError:
    """Convert a message of msgspec, such as "Expected `int`, got `str` - at `$.windows[0].starts_at`"."""
    sentence, _, path = message.partition(" - at `$")
    field = path.rstrip("`").lstrip(".")
    code = next((code for words, code in _ERROR_CODES if words in sentence), "invalid")
    if name := _FIELD_NAME.search(sentence):
        if "unknown field" in sentence:
            sentence = f"Unknown field. Known: {', '.join(_list_known_fields(field, record_type or CatalogRecord))}"
        field = f"{field}.{name[1]}" if field else name[1]
    return FieldError(field.replace("[...]", ""), code, f"{sentence}.")


@lru_cache
def _list_known_fields(path: str, record_type: Any) -> list[str]:
    """List the fields of the object at a path such as `seasons[0].episodes[2]`; the record's own for the empty path."""
    found: Any = msgspec.inspect.type_info(record_type)
    for name in re.findall(r"[a-z_]+", path):
        found = next(field.type for field in found.fields if field.encode_name == name)
        while not isinstance(found, msgspec.inspect.StructType):  # an optional object, or a list of objects
            found = found.item_type if hasattr(found, "item_type") else found.types[0]
    return sorted(field.encode_name for field in found.fields)


def normalize_record(record: CatalogRecord) -> CatalogRecord:
    """Return the record with codes in their usual case and without duplicates. Raises InvalidRecord."""
    errors: list[FieldError] = []
    record = _replace_nulls(record)
    record = msgspec.structs.replace(
        record,
        title=_normalize_text(record.title),
        genres=_unique(filter(None, map(text.slugify, record.genres))),
        age_rating=_normalize_or_report(
            errors, "age_rating", "unknown_rating", _normalize_age_rating, record.age_rating
        ),
        languages=_unique(_normalize_languages(errors, "languages", record.languages)),
        countries=_unique(_normalize_countries(errors, "countries", record.countries)),
        localizations={
            tag: localization
            for name, localization in record.localizations.items()
            for tag in _normalize_languages(errors, f"localizations.{name}", [name])
        },
        windows=record.windows
        and [_normalize_window(errors, f"windows[{index}]", window) for index, window in enumerate(record.windows)],
        plans=record.plans and _unique(record.plans),
        tags=_unique(filter(None, map(text.slugify, record.tags))),
        studios=_normalize_studios(record.studios),
        alternative_titles=_normalize_alternative_titles(errors, record.alternative_titles),
        seasons=[_normalize_season(errors, f"seasons[{i}]", season) for i, season in enumerate(record.seasons)],
        extras=[_normalize_part(errors, f"extras[{i}]", extra) for i, extra in enumerate(record.extras)],
    )
    record = _normalize_age_ratings(errors, record)
    _check_seasons(errors, record)
    _check_extras(errors, record)
    _check_media(errors, record)
    try:
        if "\\u0000" in encode_record(record):
            errors.append(FieldError("", "control_character", "Text must not contain NUL."))
    except UnicodeEncodeError:
        errors.append(FieldError("", "malformed", "Text must be well-formed Unicode."))
    if errors:
        raise InvalidRecord(*errors)
    return record


Part = TypeVar("Part", bound=_RecordPart)


def _replace_nulls(part: Part) -> Part:
    """Return the record part with empty lists instead of nulls, also in seasons, episodes and extras."""
    nulls = {f.name: f.default_factory() for f in _LIST_FIELDS[type(part)] if getattr(part, f.name) is None}
    if isinstance(part, CatalogRecord) and part.seasons:
        nulls["seasons"] = [_replace_nulls(season) for season in part.seasons]
    if isinstance(part, CatalogRecord) and part.extras:
        nulls["extras"] = [_replace_nulls(extra) for extra in part.extras]
    if isinstance(part, Season) and part.episodes:
        nulls["episodes"] = [_replace_nulls(episode) for episode in part.episodes]
    return msgspec.structs.replace(part, **nulls) if nulls else part


_LIST_FIELDS: dict[type[_RecordPart], list[msgspec.structs.FieldInfo]] = {
    part: [f for f in msgspec.structs.fields(part) if f.default_factory is not msgspec.NODEFAULT]
    for part in (CatalogRecord, Season, Episode, Extra)
}


PartWithRights = TypeVar("PartWithRights", Season, Episode, Extra)


def _normalize_season(errors: list[FieldError], field: str, season: Season) -> Season:
    episodes = [
        _normalize_localizations(errors, name, _normalize_part(errors, name, episode))
        for index, episode in enumerate(season.episodes)
        for name in (f"{field}.episodes[{index}]",)
    ]
    return msgspec.structs.replace(_normalize_part(errors, field, season), episodes=episodes)


def _normalize_part(errors: list[FieldError], field: str, part: PartWithRights) -> PartWithRights:
    """Return a season, an episode or an extra with its rights normalized."""
    changes: dict[str, Any] = {}
    if part.windows:
        windows = enumerate(part.windows)
        changes["windows"] = [_normalize_window(errors, f"{field}.windows[{i}]", window) for i, window in windows]
    if part.age_rating is not None:
        changes["age_rating"] = _normalize_or_report(
            errors, f"{field}.age_rating", "unknown_rating", _normalize_age_rating, part.age_rating
        )
    if not isinstance(part, Extra) and part.plans:
        changes["plans"] = _unique(part.plans)
    return msgspec.structs.replace(part, **changes) if changes else part


def _normalize_localizations(errors: list[FieldError], field: str, episode: Episode) -> Episode:
    if not episode.localizations:
        return episode
    localizations = {
        tag: localization
        for name, localization in episode.localizations.items()
        for tag in _normalize_languages(errors, f"{field}.localizations.{name}", [name])
    }
    return msgspec.structs.replace(episode, localizations=localizations)


def _normalize_window(errors: list[FieldError], field: str, window: Window) -> Window:
    def utc(moment: datetime | None) -> datetime | None:
        return moment and moment.astimezone(UTC)

    if window.starts_at and window.ends_at and window.starts_at >= window.ends_at:
        errors.append(FieldError(f"{field}.ends_at", "out_of_range", "Must be after starts_at."))
    for name in ("starts_at", "ends_at"):
        moment = getattr(window, name)
        if moment and not 1900 <= moment.year <= 9000:
            errors.append(FieldError(f"{field}.{name}", "out_of_range", "The year must be from 1900 to 9000."))
            return window
    countries = window.countries and sorted(set(_normalize_countries(errors, f"{field}.countries", window.countries)))
    return Window(countries, utc(window.starts_at), utc(window.ends_at))


def _normalize_studios(names: list[str]) -> list[str]:
    """Return the studios' names; of two with the same code the first counts."""
    by_code: dict[str, str] = {}
    for name in map(_normalize_text, names):
        by_code.setdefault(text.slugify(name), name)
    by_code.pop("", None)
    return list(by_code.values())


def _normalize_alternative_titles(errors: list[FieldError], titles: list[AlternativeTitle]) -> list[AlternativeTitle]:
    normalized: dict[AlternativeTitle, None] = {}
    for index, entry in enumerate(titles):
        field = f"alternative_titles[{index}]"
        languages = _normalize_languages(errors, f"{field}.language", [entry.language] if entry.language else [])
        countries = _normalize_countries(errors, f"{field}.country", [entry.country] if entry.country else [])
        replaced = AlternativeTitle(
            _normalize_text(entry.title), next(iter(languages), None), next(iter(countries), None), entry.kind
        )
        normalized[replaced] = None
    return list(normalized)


def _check_seasons(errors: list[FieldError], record: CatalogRecord) -> None:
    if record.kind == "movie" and record.seasons:
        errors.append(FieldError("seasons", "not_allowed", "A movie must not have seasons."))
    numbers = [season.number for season in record.seasons]
    if len(set(numbers)) < len(numbers):
        errors.append(FieldError("seasons", "duplicate", "Season numbers must be unique."))
    for index, season in enumerate(record.seasons):
        numbers = [episode.number for episode in season.episodes]
        if len(set(numbers)) < len(numbers):
            errors.append(
                FieldError(f"seasons[{index}].episodes", "duplicate", "Episode numbers must be unique within a season.")
            )


def _check_extras(errors: list[FieldError], record: CatalogRecord) -> None:
    names = [extra.external_id for extra in record.extras if extra.external_id is not None]
    if len(set(names)) < len(names):
        errors.append(FieldError("extras", "duplicate", "The external_id of an extra must be unique within the title."))
    items = [record, *(episode for season in record.seasons for episode in season.episodes)]
    for index, extra in enumerate(record.extras):
        for field in extra_media.list_shared_fields(extra, items):
            reason = "Must not be a file of the film or an episode, which would then play without its rights."
            errors.append(FieldError(f"extras[{index}].{field}", "not_allowed", reason))


def _check_media(errors: list[FieldError], record: CatalogRecord) -> None:
    parts: list[tuple[str, CatalogRecord | Episode | Extra]] = [("", record)]
    parts += [(f"extras[{index}].", extra) for index, extra in enumerate(record.extras)]
    for season_index, season in enumerate(record.seasons):
        for index, episode in enumerate(season.episodes):
            parts.append((f"seasons[{season_index}].episodes[{index}].", episode))
    for field, part in parts:
        for kind, url in (part.media or {}).items():
            try:
                parse_media_url(url)
            except ValueError as error:
                errors.append(FieldError(f"{field}media.{kind}", "invalid", str(error)))
        for index, variant in enumerate(part.variants):
            if canonical_path(variant.path if variant.path.startswith("/") else f"/{variant.path}") is None:
                reason = "Must be a path without `//`, `.`, `..`, `*` or double percent-encoding."
                errors.append(FieldError(f"{field}variants[{index}].path", "invalid", reason))


def _normalize_age_rating(name: str) -> str:
    return maturity.parse_age_rating(name).text


def _normalize_age_ratings(errors: list[FieldError], record: CatalogRecord) -> CatalogRecord:
    """Return the record with its ratings of countries in order, and without one that repeats the main rating."""
    ratings = {record.age_rating}
    for index, name in enumerate(record.age_ratings):
        try:
            ratings.add(_normalize_age_rating(name))
        except ValueError as error:
            errors.append(FieldError(f"age_ratings[{index}]", "unknown_rating", str(error)))
    countries = [rating.partition(":")[0] for rating in ratings if rating]
    for country in sorted(country for country, count in Counter(countries).items() if count > 1):
        reason = f"A country has one rating; {country} has several in `age_rating` and `age_ratings`."
        errors.append(FieldError("age_ratings", "duplicate", reason))
    others = sorted(rating for rating in ratings if rating and rating != record.age_rating)
    return msgspec.structs.replace(record, age_ratings=others)


def _normalize_or_report(
    errors: list[FieldError], field: str, code: str, normalize: Callable[[str], str], value: Name
) -> Name | str:
    """Return the normalized value; append an error if `normalize` raises ValueError."""
    try:
        return value and normalize(value)
    except ValueError as error:
        errors.append(FieldError(field, code, str(error)))
        return value


def _normalize_languages(errors: list[FieldError], field: str, tags: list[str]) -> list[str]:
    return [_normalize_or_report(errors, field, "unknown_language", codes.normalize_language_tag, tag) for tag in tags]


def _normalize_countries(errors: list[FieldError], field: str, names: list[str]) -> list[str]:
    upper = [name.upper() for name in names]
    for unknown in set(upper) - codes.COUNTRIES:
        errors.append(FieldError(field, "unknown_country", f"{unknown!r} is not a country code of ISO 3166-1."))
    return upper


def _unique(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _normalize_text(line: str) -> str:
    return unicodedata.normalize("NFC", line).strip() or line
