"""XMLTV, the format of programme guides: what its elements mean.

Source: the XMLTV project's xmltv.dtd. Times are `YYYYMMDDhhmmss` or an initial part of it, with an offset or the name
of a time zone; without one they are in UTC.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import Any, NamedTuple

from streamsvc.rules.catalog.codes import normalize_language_tag
from streamsvc.rules.catalog.programmes import Airing, ProgrammeRecord, ProgrammeText
from streamsvc.rules.catalog.record import Artwork, FieldError, InvalidRecord
from streamsvc.rules.catalog.text import slugify
from streamsvc.rules.maturity import RATING_SYSTEMS, parse_age_rating

ZONE_HOURS = {
    "UTC": 0, "UT": 0, "GMT": 0, "Z": 0, "WET": 0, "BST": 1, "WEST": 1, "CET": 1, "CEST": 2, "EET": 2, "EEST": 3,
    "EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7,
}  # fmt: skip
"""Names of time zones: those of RFC 822, and Europe's."""
SYSTEM_COUNTRIES = {
    "MPAA": "US", "VCHIP": "US", "USA PARENTAL RATING": "US", "BBFC": "GB", "FSK": "DE", "CSA": "FR", "CNC": "FR",
    "KIJKWIJZER": "NL", "ACB": "AU", "EIRIN": "JP", "DJCTQ": "BR", "CHVRS": "CA", "IFCO": "IE", "KAVI": "FI",
}  # fmt: skip
"""The country of rating systems that guides name otherwise than by it."""
DESCRIPTIVE_SYSTEMS = ("ADVISORY", "DESCRIPTION", "DESCRIPTOR")
"""Systems of words such as "violence", which are no age ratings."""
_TIME = re.compile(r"(\d{12})(\d\d)?(?:\.\d+)?\s*(?:([+-]\d{2}):?(\d{2})|([A-Z]{1,4}))?", re.ASCII)
_XMLTV_NS = re.compile(r"\s*(\d{1,6})?\s*(?:/\s*\d*\s*)?\.\s*(\d{1,6})?", re.ASCII)
_ONSCREEN = re.compile(
    r"(?:S(?:eason)?\s*(\d{1,5})[\s.,:x-]*)?E(?:p(?:isode)?)?[\s.#]*(\d{1,5})", re.ASCII | re.IGNORECASE
)
_IMDB = re.compile(r"(?:title/|^)(tt\d{7,10})\b", re.ASCII)
_URL = re.compile(r'https?://[^\s<>"]{1,1990}')
MAX_TITLE, MAX_SYNOPSIS, MAX_GENRES, MAX_ARTWORK = 500, 20_000, 20, 20


class Element(NamedTuple):
    """An element of a guide: its text without that of its children."""

    tag: str
    attributes: dict[str, str]
    text: str
    children: "list[Element]"
    line: int

    def each(self, tag: str) -> "Iterator[Element]":
        """Yield the children with a tag."""
        return (child for child in self.children if child.tag == tag)


@lru_cache(maxsize=4_096)
def parse_time(text: str) -> datetime:
    """Return a time such as `20260101200000 +0100` in UTC. Raises ValueError."""
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"Must be a time such as 20260101200000 +0100, not {text[:50]!r}.")
    digits, seconds, hours, minutes, name = match.groups()
    if name and name not in ZONE_HOURS:
        raise ValueError(f"Unknown time zone {name!r}; use an offset such as +0100.")
    offset = timedelta(hours=ZONE_HOURS[name]) if name else timedelta()
    if hours:
        sign = -1 if hours.startswith("-") else 1
        offset = timedelta(hours=int(hours), minutes=sign * int(minutes))
    if abs(offset) > timedelta(hours=15):
        raise ValueError("The offset must be at most 15 hours.")
    try:
        month, day, hour, minute = (int(digits[start : start + 2]) for start in range(4, 12, 2))
        local = datetime(int(digits[:4]), month, day, hour, minute, int(seconds or 0), tzinfo=timezone(offset))
    except ValueError:
        raise ValueError(f"Must be a time that exists, not {text[:50]!r}.") from None
    if not 1980 <= local.year <= 2200:
        raise ValueError("The year must be from 1980 to 2200.")
    return local.astimezone(UTC)


def parse_programme(element: Element) -> tuple[str, Airing]:
    """Return the channel's id in the guide, and the programme. Raises InvalidRecord."""
    errors: list[FieldError] = []
    channel = element.attributes.get("channel", "").strip()
    if not channel:
        errors.append(FieldError("channel", "missing", "A programme must name its channel."))
    starts_at, ends_at = (_time(errors, element, name) for name in ("start", "stop"))
    if starts_at is None and not errors:
        errors.append(FieldError("start", "missing", "A programme must have a start."))
    if starts_at and ends_at is None and (length := _length(element)):
        ends_at = starts_at + length
    if starts_at and ends_at and ends_at <= starts_at:
        errors.append(FieldError("stop", "out_of_range", "Must be after the start."))
    texts = _texts(element)
    if not texts:
        errors.append(FieldError("title", "missing", "A programme must have a title."))
    if errors or starts_at is None:
        raise InvalidRecord(*errors)
    return channel, Airing(starts_at, ends_at, _record(element, texts))


def _time(errors: list[FieldError], element: Element, name: str) -> datetime | None:
    text = element.attributes.get(name, "").strip()
    try:
        return parse_time(text) if text else None
    except ValueError as error:
        errors.append(FieldError(name, "invalid", str(error)))
        return None


def _length(element: Element) -> timedelta | None:
    """Return the programme's length, from which the end of the last programme follows if the file has none."""
    units = {"seconds": 1, "minutes": 60, "hours": 3600}
    for child in element.each("length"):
        text, unit = child.text.strip(), units.get(child.attributes.get("units", ""))
        if unit and text.isascii() and text.isdecimal() and int(text[:6]) > 0:
            return timedelta(seconds=int(text[:6]) * unit)
    return None


def _texts(element: Element) -> dict[str, ProgrammeText]:
    """Return the texts by language, the guide's first one first; `""` is a text without a language."""
    found: dict[str, dict[str, str]] = {}
    for tag, name, limit in (("title", "title", MAX_TITLE), ("sub-title", "subtitle", MAX_TITLE),
                             ("desc", "synopsis", MAX_SYNOPSIS)):  # fmt: skip
        for child in element.each(tag):
            text = " ".join(child.text.split())[:limit].strip()
            if text:
                found.setdefault(_language(child), {}).setdefault(name, text)
    titled = {language: texts for language, texts in found.items() if "title" in texts}
    if not titled:
        return {}
    first = next(iter(titled))
    titled[first] = found.get("", {}) | titled[first]
    return {language: ProgrammeText(**texts) for language, texts in titled.items()}


def _language(element: Element) -> str:
    try:
        return normalize_language_tag(element.attributes.get("lang", "").strip().replace("_", "-"))
    except ValueError:
        return ""


def _record(element: Element, texts: dict[str, ProgrammeText]) -> ProgrammeRecord:
    first, *_ = texts.values()
    genres = [slugify(" ".join(child.text.split())[:200])[:64] for child in element.each("category")]
    rating, is_unknown = _rating(element)
    season, episode = _episode_numbers(element)
    return ProgrammeRecord(
        title=first.title,
        subtitle=first.subtitle,
        synopsis=first.synopsis,
        localizations={language: text for language, text in texts.items() if language} if len(texts) > 1 else {},
        genres=list(dict.fromkeys(filter(None, genres)))[:MAX_GENRES],
        age_rating=rating,
        has_unknown_rating=is_unknown,
        season=season,
        episode=episode,
        is_repeat=any(True for _ in element.each("previously-shown")),
        artwork=list(parse_pictures(element, "still"))[:MAX_ARTWORK],
        imdb_id=_imdb_id(element),
    )


def _rating(element: Element) -> tuple[str | None, bool]:
    """Return the first age rating that is known, and whether there are only unknown ones."""
    is_unknown = False
    for child in element.each("rating"):
        system = child.attributes.get("system", "").strip().upper()
        value = next((inner.text for inner in child.each("value")), child.text).strip()
        if not value or system in DESCRIPTIVE_SYSTEMS:
            continue
        country = SYSTEM_COUNTRIES.get(system, system if system in RATING_SYSTEMS else None)
        try:
            return parse_age_rating(f"{country}:{value}").text, False
        except ValueError:
            is_unknown = True
    return None, is_unknown


def _episode_numbers(element: Element) -> tuple[int | None, int | None]:
    """Return the season and the episode; `xmltv_ns` counts both from zero."""
    numbers = {child.attributes.get("system", "onscreen"): child.text for child in element.each("episode-num")}
    if match := _XMLTV_NS.match(numbers.get("xmltv_ns", "")):
        season, episode = (int(group) + 1 if group and int(group) < 100_000 else None for group in match.groups())
        if season is not None or episode is not None:
            return season, episode
    if match := _ONSCREEN.search(numbers.get("onscreen", "")):
        season, episode = (int(group) if group else None for group in match.groups())
        return season, episode
    return None, None


def parse_pictures(element: Element, icon_role: str) -> Iterator[Artwork]:
    """Yield the pictures of a channel or a programme whose addresses are URLs."""
    for child in element.children:
        url = {"icon": child.attributes.get("src", ""), "image": child.text}.get(child.tag, "").strip()
        if _URL.fullmatch(url):
            role = child.attributes.get("type", "") if child.tag == "image" else icon_role
            yield Artwork(role if role.isascii() and 0 < len(role) <= 64 else icon_role, url)


def _imdb_id(element: Element) -> str | None:
    named = [child.text for child in element.each("url") if "imdb.com" in child.text]
    named += [child.text for child in element.each("episode-num") if "imdb" in child.attributes.get("system", "")]
    return next((match[1] for text in named if (match := _IMDB.search(text.strip()))), None)


def parse_channel(element: Element) -> dict[str, Any]:
    """Return the members of a channel's record: the guide's id, its first name, a number, and a logo."""
    names = [name for child in element.each("display-name") if (name := " ".join(child.text.split())[:MAX_TITLE])]
    number = next((name for name in names if re.fullmatch(r"[0-9]{1,5}([.-][0-9]{1,3})?", name)), None)
    named = [name for name in names if name != number] or names
    external_id = element.attributes.get("id", "").strip()
    value = {"external_id": external_id, "name": named[0] if named else external_id, "number": number}
    logos = [{"role": picture.role, "url": picture.url} for picture in parse_pictures(element, "logo")]
    return {name: member for name, member in (value | {"artwork": logos[:1]}).items() if member}
