"""A search feed in the shape that Roku's has: one JSON object with `assets`. Here "line" counts assets, from one.

The feed is read as a whole, so it is limited in size. Movies and series with their episodes are taken.
"""

from collections.abc import Iterator
from typing import BinaryIO

import msgspec

from streamsvc.operations.catalog.formats import Entry, refused

LARGEST_BYTES = 256 << 20
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


def read(file: BinaryIO) -> Iterator[Entry]:
    raw = file.read(LARGEST_BYTES + 1)
    if len(raw) > LARGEST_BYTES:
        yield refused(1, "too_long", f"A feed has at most {LARGEST_BYTES} bytes.")
        return
    try:
        feed = msgspec.json.decode(raw)
        assets = msgspec.convert(feed["assets"], list)
    except (msgspec.MsgspecError, KeyError, TypeError, UnicodeDecodeError):
        yield refused(1, "malformed", "The feed is no JSON object with a list `assets`.")
        return
    episodes = _episodes(assets)
    for number, asset in enumerate(assets, 1):
        if not isinstance(asset, dict) or asset.get("type") not in ("movie", "series", "episode"):
            yield refused(number, "not_taken", "An asset is a movie, a series or an episode.", "type")
        elif asset["type"] != "episode":
            yield _entry(number, asset, feed, episodes)


def _entry(number, asset, feed, episodes):
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


def _episodes(assets):
    """Episodes by the id of their series."""
    by_series: dict[str, list] = {}
    for asset in assets:
        if isinstance(asset, dict) and asset.get("type") == "episode":
            told = asset.get("episodeInfo") or {}
            by_series.setdefault(told.get("seriesId"), []).append((told, asset))
    return by_series


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
