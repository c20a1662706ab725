"""The fields of a record from the elements of an NFO file."""

import re
from collections.abc import Iterator
from typing import Any
from xml.etree.ElementTree import Element

import msgspec

from streamsvc.operations.catalog.formats import FileWarning, keep_known_fields
from streamsvc.operations.catalog.formats.media_addresses import is_web_address
from streamsvc.operations.catalog.formats.nfo_documents import Document, InvalidNfo
from streamsvc.rules.catalog import cells
from streamsvc.rules.catalog.external_ids import derive_person_id
from streamsvc.rules.catalog.place_names import find_country, find_language
from streamsvc.rules.catalog.record import MAX_POPULARITY, Episode

ID_NAMES = {"imdb": "imdb", "tmdb": "tmdb", "themoviedb": "tmdb", "tvdb": "tvdb", "thetvdb": "tvdb", "tvmaze": "tvmaze",
            "wikidata": "wikidata", "eidr": "eidr", "trakt": "trakt", "anidb": "anidb"}  # fmt: skip
ID_ELEMENTS = {"imdbid": "imdb", "imdb_id": "imdb", "tmdbid": "tmdb", "tvdbid": "tvdb"}
ART_ASPECTS = {"poster": "poster", "landscape": "landscape", "banner": "banner", "clearlogo": "logo", "logo": "logo",
               "clearart": "clearart", "keyart": "keyart", "fanart": "backdrop"}  # fmt: skip
MAX_NAME_LENGTH = 500
MAX_CREDITS, MAX_ARTWORK, MAX_ALTERNATIVE_TITLES = 2_000, 150, 200
TMDB_PERSON = re.compile(r"themoviedb\.org/person/([0-9]+)")
TRACK_KINDS = {"audio": "audio", "subtitle": "subtitle"}


def title_fields(document: Document, kind: str) -> tuple[dict[str, Any], list[FileWarning], list[str]]:
    """Return the fields of a film or series, warnings about what was left out, and the names of its collections."""
    ids = dict(document.address_ids)
    if not document.roots:
        return {"external_ids": ids}, [], []
    root, warnings = document.roots[0], list[FileWarning]()
    ids |= _external_ids(root, kind)
    title, localized = _localized(root, "title")
    synopsis, localized_synopses = _localized(root, "plot")
    original = _text(root, "originaltitle")
    fields = {
        "title": title,
        "original_title": original,
        "alternative_titles": _alternative_titles(root, {title, original, *localized.values()}),
        "sort_title": _text(root, "sorttitle"),
        "year": _year(root),
        "runtime_s": _runtime_s(root),
        "synopsis": synopsis or _text(root, "outline"),
        "genres": _texts(root, "genre"),
        "tags": _texts(root, "tag"),
        "studios": _texts(root, "studio"),
        "countries": _countries(root, warnings),
        **_age_ratings(root, warnings),
        "credits": _credits(root),
        "artwork": _artwork(root),
        "external_ids": ids,
        "tracks": _tracks(root),
        "popularity": _votes(root),
        "localizations": {
            tag: {"title": localized.get(tag), "synopsis": localized_synopses.get(tag)}
            for tag in {*localized, *localized_synopses}
        },
    }
    return keep_known_fields(fields), warnings, _collections(root)


def episode_fields(root: Element) -> tuple[int, dict[str, Any]]:
    """Return an episode's season and fields. Raises InvalidNfo."""
    season, number = (_number(root, name) for name in ("season", "episode"))
    if number is None:
        raise InvalidNfo("missing", "An episode must have <season> and <episode> with numbers.")
    aired = _text(root, "aired") or _text(root, "premiered")
    fields = {
        "number": number,
        "title": _text(root, "title"),
        "synopsis": _text(root, "plot") or _text(root, "outline"),
        "runtime_s": _runtime_s(root),
        "released_on": aired if aired and cells.is_date(aired) else None,
    }
    return 1 if season is None else season, {name: value for name, value in fields.items() if value is not None}


def check_episode(episode: dict[str, Any]) -> None:
    """Check an episode by itself, so that it is rejected without its series. Raises InvalidNfo."""
    try:
        msgspec.convert(episode, Episode, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidNfo("invalid", f"The episode is invalid: {error}.") from None


def season_fields(root: Element) -> tuple[int, dict[str, Any]]:
    """Return the number and fields of a season's NFO file. Raises InvalidNfo."""
    number = _number(root, "seasonnumber")
    if number is None:
        raise InvalidNfo("missing", "A season must have a <seasonnumber>.")
    title = _text(root, "title")
    return number, {"title": title[:MAX_NAME_LENGTH]} if title else {}


def season_titles(document: Document) -> dict[int, str]:
    """Return the titles that a series' own file gives its seasons."""
    found = {}
    for element in document.roots[0].findall("namedseason") if document.roots else ():
        number = _to_number(element.get("number") or "")
        if number is not None and (title := _plain(element)):
            found[number] = title[:MAX_NAME_LENGTH]
    return found


def _plain(element: Element) -> str:
    return " ".join((element.text or "").split("\0")).strip()


def _text(root: Element, name: str) -> str | None:
    """Return the first text of an element's name; None if it is empty."""
    return next((plain for element in root.findall(name) if (plain := _plain(element))), None)


def _texts(root: Element, name: str) -> list[str]:
    """Return the texts of all elements of a name; ` / ` separates several in one."""
    return list(dict.fromkeys(part for element in root.findall(name)[:500] for part in _split_names(element)))[:50]


def _split_names(element: Element) -> list[str]:
    """Return the names in an element, or that of its <name>."""
    return [name for part in (_plain(element) or _text(element, "name") or "").split(" / ") if (name := part.strip())]


def _localized(root: Element, name: str) -> tuple[str | None, dict[str, str]]:
    """Return the text without a language, or the first, and the others by language (the attribute `lang`)."""
    by_tag: dict[str, str] = {}
    own = None
    for element in root.findall(name)[:200]:
        language = (
            element.get("lang") or element.get("language") or element.get("{http://www.w3.org/XML/1998/namespace}lang")
        )
        tag = find_language(language) if language else None
        if tag:
            by_tag.setdefault(tag, _plain(element))
        own = own or (_plain(element) if not language else None)
    if own is None and by_tag:
        own = next(iter(by_tag.values()))
    if own is None:
        own = _text(root, name)
    return own, {tag: text for tag, text in by_tag.items() if text and text != own}


def _alternative_titles(root: Element, known: set[str | None]) -> list[dict[str, str]]:
    """Return the titles that are neither the title, the original one nor a localization.

    <english_title> is tinyMediaManager's.
    """
    found: dict[str, dict[str, str]] = {}
    for tag, language in (("english_title", {"language": "en"}), ("title", {}), ("originaltitle", {})):
        for element in root.findall(tag)[:MAX_ALTERNATIVE_TITLES]:
            if plain := _plain(element):
                found.setdefault(plain, {"title": plain[:MAX_NAME_LENGTH], **language})
    return [entry for plain, entry in found.items() if plain not in known][:MAX_ALTERNATIVE_TITLES]


def _number(root: Element, name: str) -> int | None:
    return _to_number(_text(root, name) or "")


def _to_number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else None


def _year(root: Element) -> int | None:
    texts = (_text(root, name) for name in ("year", "premiered", "releasedate", "aired"))
    return next((year for text in texts if text and (year := cells.parse_year(text))), None)


def _runtime_s(root: Element) -> int | None:
    """Return the exact duration of the file if it is known, else the minutes of <runtime>."""
    exact = root.findtext("fileinfo/streamdetails/video/durationinseconds") or ""
    if _to_number(exact.strip()):
        return int(exact)
    return cells.parse_runtime_s(_text(root, "runtime") or "")


def _countries(root: Element, warnings: list[FileWarning]) -> list[str]:
    names = _texts(root, "country")
    codes = [find_country(name) for name in names]
    if None in codes:
        warnings.append(FileWarning("country", "unknown_name", "Some names of countries are unknown."))
    return list(dict.fromkeys(code for code in codes if code))


def _age_ratings(root: Element, warnings: list[FileWarning]) -> dict[str, Any]:
    """Return the fields of the known ratings in <mpaa> and the like, where several are separated by slashes."""
    texts = [text for name in ("mpaa", "certification", "customrating") if (text := _text(root, name))]
    labels = [label for text in texts for label in (text, *text.split(" / "), *text.split("|"), *text.split(","))]
    fields = cells.age_rating_fields(map(cells.parse_age_rating, labels))
    if texts and fields["age_rating"] is None:
        warnings.append(FileWarning("mpaa", "unknown_rating", "Some ratings are unknown; their titles stay unrated."))
    return fields


def _credits(root: Element) -> list[dict[str, str]]:
    return list(_iter_credits(root))[:MAX_CREDITS]


def _iter_credits(root: Element) -> Iterator[dict[str, str]]:
    for role, tag in (("director", "director"), ("writer", "credits"), ("writer", "writer")):
        people: dict[str, dict[str, str]] = {}
        for element in root.findall(tag)[:500]:
            names = _split_names(element)
            for name in names:
                people.setdefault(name, _credit(name, role, _person_id(element) if len(names) == 1 else None))
        yield from list(people.values())[:50]
    for actor in root.findall("actor"):
        if name := (actor.findtext("name") or "").strip():
            character = (actor.findtext("role") or "").strip()
            credit = _credit(name, "actor", _person_id(actor))
            yield credit | ({"character": character[:MAX_NAME_LENGTH]} if character else {})


def _credit(name: str, role: str, person: str | None) -> dict[str, str]:
    return {"name": name[:MAX_NAME_LENGTH], "role": role} | ({"person": person} if person else {})


def _person_id(element: Element) -> str | None:
    """Return the external id of a person: tinyMediaManager and Emby write elements of actors, attributes of others."""
    imdb, tmdb = ((element.findtext(name) or element.get(name) or "").strip() for name in ("imdbid", "tmdbid"))
    address = TMDB_PERSON.search(element.findtext("profile") or "")
    return derive_person_id(imdb, tmdb or (address[1] if address else ""))


def _artwork(root: Element) -> list[dict[str, str]]:
    """Return the images with addresses; those of seasons, which name their season, are not the title's."""
    found = []
    for element in root.findall("thumb"):
        role = ART_ASPECTS.get(element.get("aspect") or "poster")
        if role and element.get("season") is None and is_web_address(url := _plain(element)):
            found.append({"role": role, "url": url})
    for element in root.findall("fanart/thumb"):
        if is_web_address(url := _plain(element)):
            found.append({"role": "backdrop", "url": url})
    return found[:MAX_ARTWORK]


def _external_ids(root: Element, kind: str) -> dict[str, str]:
    ids: dict[str, str] = {}
    for element in root.findall("uniqueid"):
        if (name := ID_NAMES.get((element.get("type") or "").lower())) and (text := _plain(element)):
            ids.setdefault(name, cells.parse_external_id(name, text)[:200])
    for tag, name in ID_ELEMENTS.items():
        if own := _text(root, tag):
            ids.setdefault(name, cells.parse_external_id(name, own)[:200])
    plain = _text(root, "id") or ""
    if plain.startswith("tt"):
        ids.setdefault("imdb", plain[:200])
    elif plain.isdecimal() and kind == "series":  # Kodi's first scraper of series was TVDB's
        ids.setdefault("tvdb", plain[:200])
    return ids


def _tracks(root: Element) -> list[dict[str, str]]:
    found = []
    for name, kind in TRACK_KINDS.items():
        for element in root.findall(f"fileinfo/streamdetails/{name}/language"):
            if language := find_language(_plain(element)) if _plain(element) else None:
                found.append({"kind": kind, "language": language})
    return [dict(pair) for pair in dict.fromkeys(tuple(track.items()) for track in found)][:100]


def _votes(root: Element) -> int | None:
    """Return the number of votes: the highest of any rating's."""
    texts = [root.findtext("votes"), *(element.text for element in root.findall("ratings/rating/votes"))]
    numbers = [number for text in texts if text and (number := cells.parse_number(text.strip()))]
    return min(round(max(numbers)), MAX_POPULARITY) if numbers and max(numbers) >= 0 else None


def _collections(root: Element) -> list[str]:
    """Return the names of the sets: <set>name</set>, or <set><name>name</name></set>."""
    names = [(element.findtext("name") or element.text or "").strip() for element in root.findall("set")[:50]]
    return list(dict.fromkeys(name for name in names if name))
