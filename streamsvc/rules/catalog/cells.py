"""Values as people write them in tables: durations, years, numbers, lists, age ratings, external ids.

Each `parse_x` returns None for what it cannot read, so that the record's own check names the error.
"""

import ast
import json
import re
from collections.abc import Iterable, Sequence
from datetime import date
from statistics import median
from typing import Any

from streamsvc.rules import maturity
from streamsvc.rules.catalog.place_names import find_country

EMPTY_CELLS = frozenset(("", "-", "–", "?", "n/a", "null", "none", "nan", "nat", "\\n", "#n/a", "unknown"))
MAX_LITERAL_LENGTH = 100_000
MAX_VALUE_LENGTH = 60
"""Characters of a duration or an age rating; longer text is none, and costs nothing to turn down."""
LIST_SEPARATORS = ("|", ";", " / ", ",")
"""In the order in which they are tried: a name may have a comma, hardly ever a bar."""
NAME_SUFFIX = re.compile(r"(jr|sr|ii|iii|iv|md|phd)\.?$", re.IGNORECASE)
UNIT_SECONDS = {"ms": 0.001, "s": 1, "min": 60, "h": 3600, "mm:ss": 60, "h:mm": 3600}
"""Seconds in a bare number's unit; those with a colon are the units of the first part."""
_UNIT_WORDS = {
    word: unit
    for unit, words in {
        "h": "h hr hrs hour hours std stunde stunden heure heures hora horas ora ore uur ч час часа часов",
        "min": "m mn min mins minute minutes minuten minuto minutos minuti мин",
        "s": "s sec secs second seconds sek sekunden segundos secondi secondes сек",
        "ms": "ms msec milliseconds millis",
    }.items()
    for word in words.split()
}
_ISO_DURATION = re.compile(r"P(?:(\d+)D)?T?(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?", re.IGNORECASE)
_CLOCK = re.compile(r"(\d{1,4}):([0-5]?\d)(?::([0-5]?\d))?(?:[.,]\d+)?")
_AMOUNTS = re.compile(r"(\d+(?:[.,]\d+)?)\s*([^\W\d_]+)\.?")
_YEAR = re.compile(r"(?<!\d)(18[7-9]\d|19\d\d|20\d\d|21\d\d)(?!\d)")
_TITLE_YEAR = re.compile(r"(.*\S)\s*[(\[](18[7-9]\d|19\d\d|20\d\d|21\d\d)[)\]]")
_IMDB_ID = re.compile(r"\b((?:tt|nm)\d{5,10})\b")
_RATING_WORDS = re.compile(r"^(?:rated|rating|certificate)[\s:]+", re.IGNORECASE)
_RATING_BOARDS = {"MPAA": "US", "USA": "US", "TVPG": "US", "UK": "GB", "BBFC": "GB", "FSK": "DE", "DEU": "DE",
                  "FRA": "FR", "CNC": "FR", "CSA": "FR", "ACB": "AU", "AUS": "AU", "EIRIN": "JP"}  # fmt: skip


_OTHER_LABELS = {("AU", "MA"): "MA15+", ("AU", "R"): "R18+", ("AU", "X"): "X18+"}
"""What ratings are also called."""


def parse_number(text: str) -> float | None:
    """Parse `1,234,567`, `1.234,5`, `1 234` or `61,4`; a single separator before three digits separates thousands."""
    plain = re.sub(r"[\s'’_]", "", text)
    if not re.fullmatch(r"[-+]?\d[\d.,]*", plain) or len(plain) > 40:
        return None
    marks = [mark for mark in plain if mark in ".,"]
    last = plain[plain.rfind(marks[-1]) + 1 :] if marks else ""
    if len(set(marks)) == 2:  # the later one is the decimal mark
        plain = plain.replace(marks[0], "").replace(",", ".")
    elif len(marks) > 1 or (marks == [","] and len(last) == 3):
        plain = plain.replace(marks[0], "")
    try:
        return float(plain.replace(",", "."))
    except ValueError:
        return None


def parse_year(text: str) -> int | None:
    """Return the first year in text: `1994`, `1994-10-14`, `14/10/1994`, `1994–1998`, `1994.0`, `(1994)`."""
    found = _YEAR.search(text)
    return int(found[1]) if found else None


def is_date(text: str) -> bool:
    """Whether text is a date such as `1994-10-14`."""
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return len(text) == 10


def split_title_year(title: str) -> tuple[str, int | None]:
    """Split `Toy Story (1995)` into the title and its year."""
    found = _TITLE_YEAR.fullmatch(title)
    return (found[1], int(found[2])) if found else (title, None)


def guess_runtime_unit(cells: Iterable[str]) -> tuple[str, str]:
    """Guess the units of a column's bare numbers, and of `2:22`, from the size of a sample's numbers."""
    values = list(cells)
    numbers = [number for number in map(parse_number, values) if number]
    clocks = [int(found[1]) for found in map(_CLOCK.fullmatch, values) if found and not found[3]]
    middle = median(numbers) if numbers else 0
    bare = "min" if middle <= 600 else "s" if middle <= 100_000 else "ms"
    return bare, "mm:ss" if clocks and median(clocks) > 9 else "h:mm"


def parse_runtime_s(text: str, bare: str = "min", clock: str = "h:mm") -> int | None:
    """Parse a duration: `142`, `2:22`, `2:22:00`, `2h 22m`, `142 min`, `1,5 h`, `PT2H22M`. None if it is none, or 0."""
    text = text.strip()
    if len(text) > MAX_VALUE_LENGTH:
        return None
    if (iso := _ISO_DURATION.fullmatch(text)) and any(iso.groups()):
        days, hours, minutes, seconds = (float(part or 0) for part in iso.groups())
        return round(((days * 24 + hours) * 60 + minutes) * 60 + seconds) or None
    if parts := _CLOCK.fullmatch(text):
        if parts[3]:
            return (int(parts[1]) * 60 + int(parts[2])) * 60 + int(parts[3]) or None
        first = UNIT_SECONDS[clock]
        return int(int(parts[1]) * first + int(parts[2]) * first / 60) or None
    if (number := parse_number(text)) is not None:
        return round(number * UNIT_SECONDS[bare]) or None
    return _sum_amounts(text)


def _sum_amounts(text: str) -> int | None:
    """Sum `1 h 57 min`; the last number of `1h57` is of the next smaller unit."""
    text = re.sub(r"(\d+\s*h\w*\s*)(\d+)\s*$", r"\1\2 min", text.lower())
    amounts = _AMOUNTS.findall(text)
    if not amounts or _AMOUNTS.sub("", text).strip(" ,.&and") or any(word not in _UNIT_WORDS for _, word in amounts):
        return None
    total = sum(float(amount.replace(",", ".")) * UNIT_SECONDS[_UNIT_WORDS[word]] for amount, word in amounts)
    return round(total) or None


def find_list_separator(cells: Iterable[str]) -> str | None:
    """Return what separates the items in a column's cells; None if nothing does."""
    values = list(cells)
    return next((mark for mark in LIST_SEPARATORS if any(mark in value for value in values)), None)


def split_list(cell: str, separator: str | None) -> list[str]:
    """Split a list: by the separator, or as JSON or a Python literal, whose objects count by their name."""
    if cell[:1] == "[" and (literal := _parse_literal(cell)) is not None:
        return [name for item in literal if (name := _item_name(item))]
    items = [item.strip() for item in (cell.split(separator) if separator else [cell])]
    if separator == ",":
        items = _join_suffixes(items)
    return [item for item in items if item]


def _parse_literal(cell: str) -> Sequence[Any] | None:
    if len(cell) > MAX_LITERAL_LENGTH:
        return None
    for parse in (json.loads, ast.literal_eval):
        try:
            value = parse(cell)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
        return value if isinstance(value, list) else None
    return None


def _item_name(item: Any) -> str:
    if isinstance(item, dict):
        item = next((item[key] for key in ("iso_3166_1", "iso_639_1", "name", "title") if key in item), "")
    return item.strip() if isinstance(item, str) else ""


def _join_suffixes(items: list[str]) -> list[str]:
    """Join `Robert Downey` and `Jr.` again."""
    joined: list[str] = []
    for item in items:
        if joined and NAME_SUFFIX.match(item):
            joined[-1] += f", {item}"
        else:
            joined.append(item)
    return joined


def parse_age_rating(text: str, country: str | None = None) -> str | None:
    """Return `US:R` for `R`, `Rated R`, `US-R`, `FSK 12` and the like; a bare label is `country`'s, or American."""
    if len(text) > MAX_VALUE_LENGTH:
        return None
    plain = _RATING_WORDS.sub("", text.strip()).upper()
    found = re.fullmatch(r"([A-Z][A-Z ]{1,30}?)\s*[:/_\-\s]\s*(.+)", plain)
    candidates = [(country or "US", plain)]
    if found:
        system = _RATING_BOARDS.get(found[1]) or find_country(found[1]) or found[1]
        candidates = [(system, _RATING_WORDS.sub("", found[2])), (system, plain), *candidates]
    for system, label in candidates:
        label = label.removeprefix("FSK-").removeprefix("FSK ")
        label = _OTHER_LABELS.get((system, label), label)
        if system in maturity.RATING_SYSTEMS and (system, label) in maturity.AGE_RATINGS:
            return f"{system}:{label}"
    return None


def age_rating_fields(ratings: Iterable[str | None]) -> dict[str, Any]:
    """Return the fields of a record for these ratings: the first one, and the first of each other country."""
    by_country: dict[str, str] = {}
    for rating in filter(None, ratings):
        by_country.setdefault(rating.partition(":")[0], rating)
    main, *others = by_country.values() or [None]
    return {"age_rating": main, "age_ratings": others}


def parse_external_id(name: str, text: str) -> str:
    """Return an id as its owner writes it: `tt0114709` for `114709` or an address of IMDb, `862` for `862.0`."""
    if name == "imdb":
        if found := _IMDB_ID.search(text):
            return found[1]
        return f"tt{int(text):07d}" if text.isdecimal() and text.isascii() and len(text) <= 10 else text
    return re.sub(r"^(\d+)\.0$", r"\1", text)
