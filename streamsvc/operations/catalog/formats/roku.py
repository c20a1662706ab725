"""A search feed in the shape that Roku's has: one JSON object with `assets`. Here "line" counts assets, from one.

Movies and series with their episodes are taken. No more of the feed is held in memory than its episodes and one asset.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, BinaryIO

from streamsvc.operations.catalog.formats import FileEntry, rejected_entry
from streamsvc.operations.catalog.formats.values import JsonReader

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
    """The file is read twice: what all assets share, and the episodes, may stand behind them."""
    feed, episodes = {}, {}
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
            number + 1, "malformed", f"From here on the feed is no JSON object with a list `assets`: {error}"
        )


def _iter_members(file) -> Iterator[tuple[str | None, Any]]:
    """The members of the feed, name and value, but each asset by itself. Raises ValueError, RecursionError."""
    values = JsonReader(file)
    values.expect("{")
    while (name := values.read_name()) != ASSETS:
        yield name, values.read_value()
        values.expect(",")
    values.expect("[")
    if not values.accept("]"):
        yield ASSET, values.read_value()
        while values.accept(","):
            yield ASSET, values.read_value()
        values.expect("]")
    while values.accept(","):
        yield values.read_name(), values.read_value()
    values.expect("}")


def _entry(number, asset, feed, episodes):
    """None for an episode, which comes with its series."""
    if not isinstance(asset, dict) or asset.get("type") not in ("movie", "series", "episode"):
        return rejected_entry(number, "not_taken", "An asset is a movie, a series or an episode.", "type")
    if asset["type"] == "episode":
        return None
    try:
        part = _partial_record(asset, feed, episodes.get(asset.get("id"), []))
    except (AttributeError, KeyError, TypeError, IndexError, ValueError) as error:
        return rejected_entry(
            number, "malformed", f"The asset is not shaped as it should be: {error!r}.", "", str(asset.get("id"))
        )
    return FileEntry(number, part=part, external_id=part["external_id"])


def _partial_record(asset, feed, episodes):
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
        "age_rating": _age_rating(asset.get("advisoryRatings", [])),
        "credits": [
            {"name": one["name"], "role": CREDIT_ROLES.get(one["role"].lower(), one["role"])}
            for one in asset.get("credits", [])
        ],
        "artwork": [
            {"role": ARTWORK_ROLES.get(one["type"], one["type"]), "url": one["url"]} for one in asset.get("images", [])
        ],
        "external_ids": {
            EXTERNAL_ID_NAMES.get(one["idType"], one["idType"].lower()): one["id"]
            for one in asset.get("externalIds", [])
        },
        "windows": [_window(option, feed) for option in options] or None,
        "seasons": _seasons(episodes, default),
    }
    return {name: value for name, value in part.items() if value}


def _descriptions(asset):
    return asset.get("longDescriptions") or asset.get("shortDescriptions") or []


def _texts_by_language(texts, default):
    return {tag: one["value"] for one in texts for tag in one.get("languages") or [default]}


def _age_rating(ratings):
    known = [
        f"{RATING_SYSTEMS[one['source']]}:{one['value']}" for one in ratings if one.get("source") in RATING_SYSTEMS
    ]
    return known[0] if known else None


def _window(option, feed):
    where = option.get("availabilityInfo", {}).get("country") or feed.get("defaultAvailabilityCountries")
    return {
        "countries": where and [code.upper() for code in where],
        "starts_at": option.get("availabilityStartTime"),
        "ends_at": option.get("availabilityEndTime"),
    }


def _collect_episode(episodes, asset):
    """An episode that is shaped as it should be, under the id of its series."""
    told = asset.get("episodeInfo")
    if isinstance(told, dict) and isinstance(told.get("seriesId"), str):
        episodes.setdefault(told["seriesId"], []).append((told, asset))


def _seasons(episodes, default):
    seasons: dict[int, list] = {}
    for told, asset in episodes:
        titles = _texts_by_language(asset["titles"], default)
        episode = {
            "number": told["episodeNumber"],
            "title": titles.get(default),
            "synopsis": _texts_by_language(_descriptions(asset), default).get(default),
            "runtime_s": asset.get("durationInSeconds"),
            "released_on": asset.get("releaseDate"),
        }
        seasons.setdefault(told["seasonNumber"], []).append({name: v for name, v in episode.items() if v is not None})
    return [{"number": number, "episodes": theirs} for number, theirs in sorted(seasons.items())]
