"""Roku search feeds: one JSON object with `assets`. The "line" of an entry is the number of its asset, from one.

A feed without `assets` is read as one for Direct Publisher.
Imports movies, and series with their episodes. Only the episodes and one asset at a time are held in memory.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, BinaryIO

from streamsvc.operations.catalog.formats import FileEntry, rejected_entry
from streamsvc.operations.catalog.formats.roku_direct import read_roku_direct
from streamsvc.operations.catalog.formats.values import JsonReader
from streamsvc.rules.catalog.cells import age_rating_fields

HEAD_BYTES = 64 * 1024
DIRECT_PUBLISHER_LIST = re.compile(rb'"(movies|series|shortFormVideos|tvSpecials|providerName)"\s*:')
ASSETS, ASSET = "assets", None
RATING_SYSTEMS = {
    "MPAA": "US",
    "USA_PR": "US",
    "TVPG": "US",
    "BBFC": "GB",
    "FSK": "DE",
    "CNC": "FR",
    "ACB": "AU",
    "EIRIN": "JP",
}
CREDIT_ROLES = {"actor": "actor", "anchor": "actor", "host": "host", "narrator": "narrator", "voice": "actor",
         "director": "director", "producer": "producer", "screenwriter": "writer"}  # fmt: skip
ARTWORK_ROLES = {"main": "poster", "background": "backdrop", "keyart": "keyart", "logo": "logo"}
EXTERNAL_ID_NAMES = {"TMS": "gracenote", "ROVI": "rovi", "IMDB": "imdb", "EIDR": "eidr"}


def read_roku(file: BinaryIO, after: int = 0) -> Iterator[FileEntry]:
    """Yield the entries of a feed; reads it twice, since shared members and episodes may follow the assets."""
    head = file.read(HEAD_BYTES)
    file.seek(0)
    if b'"assets"' not in head and DIRECT_PUBLISHER_LIST.search(head):
        yield from read_roku_direct(file, after)
        return
    feed: dict[str, Any] = {}
    episodes: dict[str, Any] = {}
    with suppress(ValueError, RecursionError):
        for name, value in _iter_members(file):
            if name is not ASSET:
                feed[name] = value
            elif isinstance(value, dict) and value.get("type") == "episode":
                _collect_episode(episodes, value)
    file.seek(0)
    number = 0
    try:
        for name, asset in _iter_members(file):
            number += name is ASSET
            if name is ASSET and number > after and (entry := _entry(number, asset, feed, episodes)):
                yield entry
    except (ValueError, RecursionError) as error:
        yield rejected_entry(
            number + 1, "malformed", f"The feed is not a JSON object with a list `assets` from here on: {error}"
        )


def _iter_members(file: BinaryIO) -> Iterator[tuple[str | None, Any]]:
    """Yield members of the feed as (name, value), and assets as (ASSET, value). Raises ValueError, RecursionError."""
    reader = JsonReader(file)
    reader.expect("{")
    while (name := reader.read_name()) != ASSETS:
        yield name, reader.read_value()
        reader.expect(",")
    reader.expect("[")
    if not reader.accept("]"):
        yield ASSET, reader.read_value()
        while reader.accept(","):
            yield ASSET, reader.read_value()
        reader.expect("]")
    while reader.accept(","):
        yield reader.read_name(), reader.read_value()
    reader.expect("}")


def _entry(number: int, asset: Any, feed: dict, episodes: dict) -> FileEntry | None:
    """Return the entry of an asset; None for an episode, which is part of its series."""
    if not isinstance(asset, dict) or asset.get("type") not in ("movie", "series", "episode"):
        return rejected_entry(number, "not_taken", "An asset must be a movie, a series or an episode.", "type")
    if asset["type"] == "episode":
        return None
    try:
        part = _partial_record(asset, feed, episodes.get(asset.get("id"), []))
    except (AttributeError, KeyError, TypeError, IndexError, ValueError) as error:
        return rejected_entry(number, "malformed", f"The asset is malformed: {error!r}.", "", str(asset.get("id")))
    return FileEntry(number, part=part, external_id=part["external_id"])


def _partial_record(asset: dict, feed: dict, episodes: list) -> dict:
    default = feed.get("defaultLanguage", "en")
    titles, synopses = _texts_by_language(asset["titles"], default), _texts_by_language(_descriptions(asset), default)
    options = asset.get("content", {}).get("playOptions", [])
    part = {
        "external_id": asset["id"],
        "kind": asset["type"],
        "title": titles.get(default) or next(iter(titles.values())),
        "synopsis": synopses.get(default),
        "localizations": {
            tag: {"title": titles.get(tag), "synopsis": synopses.get(tag)} for tag in {*titles, *synopses} - {default}
        },
        "year": int(asset["releaseDate"][:4]) if asset.get("releaseDate") else None,
        "runtime_s": asset.get("durationInSeconds"),
        "genres": asset.get("genres", []),
        **_age_ratings(asset.get("advisoryRatings", [])),
        "credits": [
            {"name": item["name"], "role": CREDIT_ROLES.get(item["role"].lower(), item["role"])}
            for item in asset.get("credits", [])
        ],
        "artwork": [
            {"role": ARTWORK_ROLES.get(item["type"], item["type"]), "url": item["url"]}
            for item in asset.get("images", [])
        ],
        "external_ids": {
            EXTERNAL_ID_NAMES.get(item["idType"], item["idType"].lower()): item["id"]
            for item in asset.get("externalIds", [])
        },
        "windows": [_window(option, feed) for option in options] or None,
        "seasons": _seasons(episodes, default),
    }
    return {name: value for name, value in part.items() if value}


def _descriptions(asset: dict) -> list:
    return asset.get("longDescriptions") or asset.get("shortDescriptions") or []


def _texts_by_language(texts: list, default: str) -> dict[str, str]:
    return {tag: text["value"] for text in texts for tag in text.get("languages") or [default]}


def _age_ratings(ratings: list) -> dict:
    """Return the first rating as the main one, and the first of each other country."""
    known = (rating for rating in ratings if rating.get("source") in RATING_SYSTEMS)
    return age_rating_fields(f"{RATING_SYSTEMS[rating['source']]}:{rating['value']}" for rating in known)


def _window(option: dict, feed: dict) -> dict:
    countries = option.get("availabilityInfo", {}).get("country") or feed.get("defaultAvailabilityCountries")
    return {
        "countries": countries and [code.upper() for code in countries],
        "starts_at": option.get("availabilityStartTime"),
        "ends_at": option.get("availabilityEndTime"),
    }


def _collect_episode(episodes: dict, asset: dict) -> None:
    """Add a well-formed episode to those of its series."""
    info = asset.get("episodeInfo")
    if isinstance(info, dict) and isinstance(info.get("seriesId"), str):
        episodes.setdefault(info["seriesId"], []).append((info, asset))


def _seasons(episodes: list, default: str) -> list[dict]:
    seasons: dict[int, list] = {}
    for info, asset in episodes:
        titles = _texts_by_language(asset["titles"], default)
        episode = {
            "number": info["episodeNumber"],
            "title": titles.get(default),
            "synopsis": _texts_by_language(_descriptions(asset), default).get(default),
            "runtime_s": asset.get("durationInSeconds"),
            "released_on": asset.get("releaseDate"),
        }
        seasons.setdefault(info["seasonNumber"], []).append({name: v for name, v in episode.items() if v is not None})
    return [{"number": number, "episodes": season_episodes} for number, season_episodes in sorted(seasons.items())]
