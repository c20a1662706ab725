"""Roku Direct Publisher feeds: one JSON object with `movies`, `series`, `tvSpecials` and `shortFormVideos`.

The "line" of an entry is the number of its title over all lists, from one. Specials and short videos become movies.
Live feeds and playlists are left out.
"""

from collections.abc import Iterator
from typing import Any, BinaryIO

from streamsvc.operations.catalog.formats import FileEntry, FileWarning, keep_known_fields, rejected_entry
from streamsvc.operations.catalog.formats.media_addresses import find_media_kind
from streamsvc.operations.catalog.formats.values import JsonReader
from streamsvc.rules.catalog.cells import parse_age_rating, parse_year
from streamsvc.rules.catalog.place_names import find_language

TITLE_LISTS = {"movies": "movie", "tvSpecials": "movie", "shortFormVideos": "movie", "series": "series"}
LIVE_LISTS = ("liveFeeds",)
RATING_COUNTRIES = {
    "MPAA": "US", "USA_PR": "US", "BBFC": "GB", "FSK": "DE", "CNC": "FR", "CHVRS": "CA", "CPR": "CA", "ACB": "AU",
    "OFLC": "AU", "EIRIN": "JP", "DJCTQ": "BR", "RTC": "MX", "IFCO": "IE", "CBFC": "IN",
}  # fmt: skip
CREDIT_ROLES = {"screenwriter": "writer", "anchor": "actor", "voice": "actor"}
EXTERNAL_ID_NAMES = {"TMS": "gracenote", "ROVI": "rovi", "IMDB": "imdb", "EIDR": "eidr"}
VIDEO_KINDS = {"HLS": "hls", "DASH": "dash", "SMOOTH": "smooth", "MP4": "mp4", "MOV": "mov", "M4V": "m4v"}
SHAPE_ERRORS = (AttributeError, KeyError, TypeError, IndexError, ValueError)


def read_roku_direct(file: BinaryIO, after: int = 0) -> Iterator[FileEntry]:
    """Yield the entries of a feed, holding one title in memory."""
    number = 0
    try:
        for name, value in _iter_titles(file):
            number += 1
            if number > after:
                yield _entry(number, name, value)
    except (ValueError, RecursionError) as error:
        if number >= after:
            reason = f"The feed is not a JSON object with lists of titles from here on: {error}"
            yield rejected_entry(number + 1, "malformed", reason)


def _iter_titles(file: BinaryIO) -> Iterator[tuple[str, Any]]:
    """Yield the titles of all lists with the list's name. Raises ValueError, RecursionError."""
    reader = JsonReader(file)
    reader.expect("{")
    while True:
        name = reader.read_name()
        if name in TITLE_LISTS or name in LIVE_LISTS:
            reader.expect("[")
            if not reader.accept("]"):
                yield name, reader.read_value()
                while reader.accept(","):
                    yield name, reader.read_value()
                reader.expect("]")
        else:
            reader.read_value()
        if not reader.accept(","):
            reader.expect("}")
            return


def _entry(number: int, list_name: str, item: Any) -> FileEntry:
    if list_name in LIVE_LISTS:
        reason = "Live channels are not titles; they were left out."
        return FileEntry(number, warnings=(FileWarning(list_name, "channel", reason),))
    try:
        part = _title_part(item, TITLE_LISTS[list_name])
    except SHAPE_ERRORS as error:
        name = str(item.get("id"))[:100] if isinstance(item, dict) else None
        return rejected_entry(number, "malformed", f"The title is malformed: {error!r}.", list_name, name)
    return FileEntry(number, part=part, external_id=part["external_id"])


def _title_part(item: dict[str, Any], kind: str) -> dict[str, Any]:
    content = item.get("content") or {}
    language = content.get("language")
    part = {
        "external_id": str(item["id"]),
        "kind": kind,
        "title": item["title"],
        "synopsis": item.get("longDescription") or item.get("shortDescription"),
        "year": parse_year(item.get("releaseDate") or ""),
        "runtime_s": content.get("duration"),
        "genres": item.get("genres"),
        "tags": item.get("tags"),
        "age_rating": _age_rating(item.get("rating") or {}),
        "languages": [tag] if isinstance(language, str) and (tag := find_language(language)) else [],
        "credits": [_credit(person) for person in item.get("credits") or []],
        "artwork": _artwork(item),
        "external_ids": {
            EXTERNAL_ID_NAMES.get(entry["idType"].upper(), entry["idType"].lower()): entry["id"]
            for entry in item.get("externalIds") or []
        },
        "media": _media(content),
        "tracks": _tracks(content),
        "windows": _windows(content),
    }
    if kind == "series":
        part["seasons"] = _seasons(item)
    return keep_known_fields(part)


def _age_rating(rating: dict[str, Any]) -> str | None:
    """Return the rating; Canada's boards are also called after their provinces."""
    label, source = rating.get("rating"), rating.get("ratingSource") or ""
    return parse_age_rating(label, RATING_COUNTRIES.get(source.upper())) if label else None


def _credit(person: dict[str, Any]) -> dict[str, str]:
    role = person["role"].lower()
    return {"name": person["name"], "role": CREDIT_ROLES.get(role, role)}


def _artwork(item: dict[str, Any]) -> list[dict[str, str]]:
    roles = {"thumbnailBoxcover": "poster", "thumbnail": "landscape", "backgroundImage": "backdrop"}
    return [{"role": role, "url": item[name]} for name, role in roles.items() if item.get(name)]


def _media(content: dict[str, Any]) -> dict[str, str]:
    """Return the best file of each kind; Roku lists the qualities SD, HD, FHD, UHD."""
    ranks = {"SD": 0, "HD": 1, "FHD": 2, "UHD": 3}
    videos = sorted(content.get("videos") or [], key=lambda video: ranks.get(video.get("quality", ""), -1))
    urls = [
        (VIDEO_KINDS.get(video["videoType"].upper()) or find_media_kind(video["url"]), video["url"]) for video in videos
    ]
    return {kind: url for kind, url in urls if kind}


def _tracks(content: dict[str, Any]) -> list[dict[str, str]]:
    found = []
    for caption in content.get("captions") or []:
        if language := find_language(caption["language"]):
            is_caption = caption.get("captionType") == "CLOSED_CAPTION"
            found.append({"kind": "caption" if is_caption else "subtitle", "language": language})
    return found


def _windows(content: dict[str, Any]) -> list[dict[str, str]]:
    ends = {"starts_at": content.get("validityPeriodStart"), "ends_at": content.get("validityPeriodEnd")}
    window = {name: moment for name, moment in ends.items() if moment}
    return [window] if window else []


def _seasons(item: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the seasons; a mini-series lists its episodes without one, which is season 1."""
    seasons: list[dict[str, Any]] = []
    for season in item.get("seasons") or []:
        number = int(season["seasonNumber"])
        title = {"title": season["title"]} if season.get("title") else {}
        seasons.append({"number": number, **title, "episodes": _episodes(season.get("episodes") or [])})
    if item.get("episodes"):
        seasons.append({"number": 1, "episodes": _episodes(item["episodes"])})
    return seasons


def _episodes(episodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = []
    for position, episode in enumerate(episodes, 1):
        content = episode.get("content") or {}
        fields = {
            "number": int(episode.get("episodeNumber") or position),
            "title": episode["title"],
            "synopsis": episode.get("longDescription") or episode.get("shortDescription"),
            "runtime_s": content.get("duration"),
            "released_on": (episode.get("releaseDate") or "")[:10],
            "media": _media(content),
            "artwork": [{"role": "still", "url": episode["thumbnail"]}] if episode.get("thumbnail") else [],
        }
        found.append({name: value for name, value in fields.items() if value})
    return found
