"""The fields of a record from an object of TMDB's API."""

from collections.abc import Iterator
from typing import Any

from streamsvc.operations.catalog.formats import keep_known_fields
from streamsvc.rules.catalog.cells import age_rating_fields, parse_age_rating, parse_year
from streamsvc.rules.catalog.codes import COUNTRIES
from streamsvc.rules.catalog.external_ids import derive_external_id, derive_person_id
from streamsvc.rules.catalog.place_names import find_language
from streamsvc.rules.catalog.record import MAX_POPULARITY
from streamsvc.rules.catalog.text import slugify

IMAGE_BASE_URL = "https://image.tmdb.org/t/p/original"
ARTWORK_ROLES = {"posters": "poster", "backdrops": "backdrop", "logos": "logo"}
MAX_IMAGES, MAX_CREDITS, MAX_ALTERNATIVE_TITLES = 20, 500, 200
MAX_NAME_LENGTH, MAX_KIND_LENGTH = 500, 64
CREW_ROLES = {
    "Director": "director", "Writer": "writer", "Screenplay": "writer", "Author": "writer", "Story": "writer",
    "Novel": "writer", "Teleplay": "writer", "Creator": "creator", "Producer": "producer",
    "Executive Producer": "producer", "Original Music Composer": "composer",
    "Director of Photography": "cinematographer", "Editor": "editor",
}  # fmt: skip
RATING_COUNTRIES = ("US", "GB", "DE", "FR", "CA", "AU", "NL", "ES", "IT", "BR")
"""Where a title's main age rating is looked for first."""
EXTERNAL_IDS = {"imdb_id": "imdb", "tvdb_id": "tvdb", "wikidata_id": "wikidata"}
OTHER_LANGUAGE_CODES = {"cn": "yue", "mo": "ro", "sh": "sr"}
"""Codes of TMDB that are no language tags, or outdated ones."""
GENRES = {
    12: "Adventure", 14: "Fantasy", 16: "Animation", 18: "Drama", 27: "Horror", 28: "Action", 35: "Comedy",
    36: "History", 37: "Western", 53: "Thriller", 80: "Crime", 99: "Documentary", 878: "Science Fiction",
    9648: "Mystery", 10402: "Music", 10749: "Romance", 10751: "Family", 10752: "War", 10759: "Action & Adventure",
    10762: "Kids", 10763: "News", 10764: "Reality", 10765: "Sci-Fi & Fantasy", 10766: "Soap", 10767: "Talk",
    10768: "War & Politics", 10770: "TV Movie",
}  # fmt: skip
"""TMDB's genres by id, as lists have them."""


def title_part(item: dict[str, Any]) -> dict[str, Any] | None:
    """Return a partial record; None for an object without a title or an id. Raises the errors of a wrong shape."""
    is_series = item.get("media_type") == "tv" or "first_air_date" in item or "name" in item or "original_name" in item
    original = item.get("original_title") or item.get("original_name")
    title = item.get("title") or item.get("name") or original
    if not title or not isinstance(item.get("id"), int):
        return None
    minutes = item.get("runtime") or next(iter(item.get("episode_run_time") or []), None)
    votes = item.get("vote_count") or round(item.get("popularity") or 0)
    part = {
        "kind": "series" if is_series else "movie",
        "title": title,
        "original_title": original if original != title else None,
        "year": parse_year(item.get("release_date") or item.get("first_air_date") or ""),
        "runtime_s": minutes * 60 if minutes else None,
        "synopsis": item.get("overview"),
        "genres": [genre["name"] for genre in item.get("genres") or []] or _genres_of_ids(item.get("genre_ids") or []),
        "languages": [tag for code in [item.get("original_language")] if code and (tag := _language(code))],
        "countries": item.get("origin_country")
        or [country["iso_3166_1"] for country in item.get("production_countries") or []],
        **_age_ratings(item),
        "credits": list(_credits(item))[:MAX_CREDITS],
        "artwork": list(_artwork(item)),
        "localizations": _localizations(item, title),
        "external_ids": _external_ids(item),
        "alternative_titles": list(_alternative_titles(item)),
        "popularity": max(0, min(votes, MAX_POPULARITY)) or None,
        "seasons": _seasons(item) if is_series else [],
        "adult": item.get("adult"),
        "tags": [keyword["name"] for keyword in _list_appended(item, "keywords", "keywords", "results")],
        "studios": [company["name"] for company in item.get("production_companies") or []],
    }
    return keep_known_fields({**part, "external_id": derive_external_id(part)})


def collection_names(item: dict[str, Any]) -> tuple[str, ...]:
    """Return the names of the collections that a movie belongs to."""
    collection = item.get("belongs_to_collection")
    return (collection["name"],) if collection and isinstance(collection["name"], str) else ()


def _genres_of_ids(ids: list[int]) -> list[str]:
    return [GENRES[number] for number in ids if number in GENRES]


def _language(code: str) -> str | None:
    return OTHER_LANGUAGE_CODES.get(code) or find_language(code)


def _list_appended(item: dict[str, Any], name: str, *lists: str) -> list[dict[str, Any]]:
    """Return a list inside an appended object, under the first name that it has."""
    appended = item.get(name) or {}
    return next((appended[inner] for inner in lists if appended.get(inner)), [])


def _age_ratings(item: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of the ratings that are known, one of each country."""
    labels = [
        (entry["iso_3166_1"], entry.get("rating")) for entry in _list_appended(item, "content_ratings", "results")
    ]
    for entry in _list_appended(item, "release_dates", "results"):
        labels += [(entry["iso_3166_1"], release.get("certification")) for release in entry["release_dates"]]
    labels.sort(key=lambda pair: (*RATING_COUNTRIES, pair[0]).index(pair[0]))
    return age_rating_fields(parse_age_rating(label, country) for country, label in labels if label)


def _credits(item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for person in item.get("created_by") or []:
        yield _credit(person, "creator")
    crew, cast = _list_appended(item, "credits", "crew"), _list_appended(item, "credits", "cast")
    for person in crew:
        if person.get("job") in CREW_ROLES:
            yield _credit(person, CREW_ROLES[person["job"]])
    for person in sorted(cast, key=lambda person: person.get("order") or 0):
        character = person.get("character")
        yield _credit(person, "actor") | ({"character": character[:MAX_NAME_LENGTH]} if character else {})


def _credit(person: dict[str, Any], role: str) -> dict[str, str]:
    external_id = derive_person_id(tmdb=str(person.get("id")))
    return {"name": person["name"], "role": role} | ({"person": external_id} if external_id else {})


def _alternative_titles(item: dict[str, Any]) -> Iterator[dict[str, str | None]]:
    """Yield the alternative titles; countries that no longer exist, such as the Soviet Union, are left out."""
    for entry in _list_appended(item, "alternative_titles", "titles", "results")[:MAX_ALTERNATIVE_TITLES]:
        if title := entry["title"].strip()[:MAX_NAME_LENGTH]:
            country, kind = entry.get("iso_3166_1"), slugify(entry.get("type") or "")[:MAX_KIND_LENGTH]
            yield {"title": title, "country": country if country in COUNTRIES else None, "kind": kind or None}


def _artwork(item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    seen = set()
    for name, role in (("poster_path", "poster"), ("backdrop_path", "backdrop")):
        if url := _image_url(item.get(name)):
            seen.add(url)
            yield {"role": role, "url": url}
    for name, role in ARTWORK_ROLES.items():
        for image in _list_appended(item, "images", name)[:MAX_IMAGES]:
            url = _image_url(image["file_path"])
            if url and url not in seen:
                seen.add(url)
                language = image.get("iso_639_1") and _language(image["iso_639_1"])
                size = {side: image[side] for side in ("width", "height") if image.get(side)}
                yield {"role": role, "url": url, **size} | ({"language": language} if language else {})


def _image_url(path: str | None) -> str | None:
    """Return the address of an image, whose path begins with a slash."""
    return IMAGE_BASE_URL + path if path and path.startswith("/") else None


def _localizations(item: dict[str, Any], title: str) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for entry in _list_appended(item, "translations", "translations"):
        language, data = _language(entry["iso_639_1"]), entry.get("data") or {}
        known = {"title": data.get("title") or data.get("name"), "synopsis": data.get("overview")}
        texts = {name: text for name, text in known.items() if text and text != title}
        if language and texts:
            tag = f"{language}-{entry['iso_3166_1']}" if language in found else language
            found.setdefault(tag, texts)
    return found


def _external_ids(item: dict[str, Any]) -> dict[str, str]:
    ids = {**item, **(item.get("external_ids") or {})}
    found = {name: str(ids[member]) for member, name in EXTERNAL_IDS.items() if ids.get(member)}
    return {**found, "tmdb": str(item["id"])}


def _seasons(item: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the seasons; those appended (`season/1`) with their episodes, the others without touching theirs."""
    seasons = {season["season_number"]: _season(season) for season in item.get("seasons") or []}
    for name, season in item.items():
        if name.startswith("season/"):
            number = season["season_number"]
            episodes = [_episode(episode) for episode in season["episodes"]]
            seasons[number] = {**_season(season), "episodes": episodes}
    return [seasons[number] for number in sorted(seasons)]


def _season(season: dict[str, Any]) -> dict[str, Any]:
    return {"number": season["season_number"]} | ({"title": season["name"]} if season.get("name") else {})


def _episode(episode: dict[str, Any]) -> dict[str, Any]:
    still = _image_url(episode.get("still_path"))
    fields = {
        "number": episode["episode_number"],
        "title": episode.get("name"),
        "synopsis": episode.get("overview"),
        "runtime_s": episode["runtime"] * 60 if episode.get("runtime") else None,
        "released_on": episode.get("air_date"),
        "artwork": [{"role": "still", "url": still}] if still else None,
    }
    return {name: value for name, value in fields.items() if value not in (None, "")}
