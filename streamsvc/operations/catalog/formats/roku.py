"""A search feed in the shape that Roku's has: one JSON object with `assets`. Here "line" counts assets, from one.

Movies and series with their episodes are taken. No more of the feed is held in memory than its episodes and one asset.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, BinaryIO

from streamsvc.operations.catalog.formats import Entry, refused
from streamsvc.operations.catalog.formats.values import Values

ASSETS, ASSET = "assets", None
RATINGS = {
    "MPAA": "US",
    "USA_PR": "US",
    "TVPG": "US",
    "BBFC": "GB",
    "FSK": "DE",
    "CNC": "FR",
    "ACB": "AU",
    "EIRIN": "JP",
}
ROLES = {"actor": "actor", "anchor": "actor", "host": "host", "narrator": "narrator", "voice": "actor",
         "director": "director", "producer": "producer", "screenwriter": "writer"}  # fmt: skip
PICTURES = {"main": "poster", "background": "backdrop", "keyart": "keyart", "logo": "logo"}
IDS = {"TMS": "gracenote", "ROVI": "rovi", "IMDB": "imdb", "EIDR": "eidr"}


def read(file: BinaryIO, after: int = 0) -> Iterator[Entry]:
    """The file is read twice: what all assets share, and the episodes, may stand behind them."""
    feed, episodes = {}, {}
    with suppress(ValueError, RecursionError):
        for name, value in _members(file):
            if name is not ASSET:
                feed[name] = value
            elif isinstance(value, dict) and value.get("type") == "episode":
                _keep_episode(episodes, value)
    file.seek(0)
    number = 0
    try:
        for name, asset in _members(file):
            number += name is ASSET
            if name is ASSET and number > after and (entry := _entry(number, asset, feed, episodes)):
                yield entry
    except (ValueError, RecursionError) as error:
        yield refused(number + 1, "malformed", f"From here on the feed is no JSON object with a list `assets`: {error}")


def _members(file) -> Iterator[tuple[str | None, Any]]:
    """The members of the feed, name and value, but each asset by itself. Raises ValueError, RecursionError."""
    values = Values(file)
    values.expect("{")
    while (name := values.name()) != ASSETS:
        yield name, values.next()
        values.expect(",")
    values.expect("[")
    if not values.take("]"):
        yield ASSET, values.next()
        while values.take(","):
            yield ASSET, values.next()
        values.expect("]")
    while values.take(","):
        yield values.name(), values.next()
    values.expect("}")


def _entry(number, asset, feed, episodes):
    """None for an episode, which comes with its series."""
    if not isinstance(asset, dict) or asset.get("type") not in ("movie", "series", "episode"):
        return refused(number, "not_taken", "An asset is a movie, a series or an episode.", "type")
    if asset["type"] == "episode":
        return None
    try:
        part = _part(asset, feed, episodes.get(asset.get("id"), []))
    except (AttributeError, KeyError, TypeError, IndexError, ValueError) as error:
        return refused(
            number, "malformed", f"The asset is not shaped as it should be: {error!r}.", "", str(asset.get("id"))
        )
    return Entry(number, part=part, external_id=part["external_id"])


def _part(asset, feed, episodes):
    default = feed.get("defaultLanguage", "en")
    titles, synopses = _by_language(asset["titles"], default), _by_language(_prose(asset), default)
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
        "age_rating": _rating(asset.get("advisoryRatings", [])),
        "credits": [
            {"name": one["name"], "role": ROLES.get(one["role"].lower(), one["role"])}
            for one in asset.get("credits", [])
        ],
        "artwork": [
            {"role": PICTURES.get(one["type"], one["type"]), "url": one["url"]} for one in asset.get("images", [])
        ],
        "external_ids": {
            IDS.get(one["idType"], one["idType"].lower()): one["id"] for one in asset.get("externalIds", [])
        },
        "windows": [_window(option, feed) for option in options] or None,
        "seasons": _seasons(episodes, default),
    }
    return {name: value for name, value in part.items() if value}


def _prose(asset):
    return asset.get("longDescriptions") or asset.get("shortDescriptions") or []


def _by_language(texts, default):
    return {tag: one["value"] for one in texts for tag in one.get("languages") or [default]}


def _rating(given):
    known = [f"{RATINGS[one['source']]}:{one['value']}" for one in given if one.get("source") in RATINGS]
    return known[0] if known else None


def _window(option, feed):
    where = option.get("availabilityInfo", {}).get("country") or feed.get("defaultAvailabilityCountries")
    return {
        "countries": where and [code.upper() for code in where],
        "starts_at": option.get("availabilityStartTime"),
        "ends_at": option.get("availabilityEndTime"),
    }


def _keep_episode(episodes, asset):
    """An episode that is shaped as it should be, under the id of its series."""
    told = asset.get("episodeInfo")
    if isinstance(told, dict) and isinstance(told.get("seriesId"), str):
        episodes.setdefault(told["seriesId"], []).append((told, asset))


def _seasons(episodes, default):
    seasons: dict[int, list] = {}
    for told, asset in episodes:
        titles = _by_language(asset["titles"], default)
        episode = {
            "number": told["episodeNumber"],
            "title": titles.get(default),
            "synopsis": _by_language(_prose(asset), default).get(default),
            "runtime_s": asset.get("durationInSeconds"),
            "released_on": asset.get("releaseDate"),
        }
        seasons.setdefault(told["seasonNumber"], []).append({name: v for name, v in episode.items() if v is not None})
    return [{"number": number, "episodes": theirs} for number, theirs in sorted(seasons.items())]
