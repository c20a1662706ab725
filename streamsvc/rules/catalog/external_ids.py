"""The external ids of titles and people whose files have none, so that those of two files are the same."""

import re
from collections.abc import Mapping
from typing import Any

from streamsvc.rules.catalog.text import slugify

ID_ORDER = ("imdb", "tmdb", "tvdb", "tvmaze", "wikidata", "eidr", "anidb", "trakt")
"""The databases whose ids may name a title, best first."""
MAX_SLUG_LENGTH = 150
_IMDB_PERSON, _TMDB_PERSON = re.compile(r"nm[0-9]{1,12}"), re.compile(r"[1-9][0-9]{0,11}")


def derive_external_id(part: Mapping[str, Any]) -> str | None:
    """Return `imdb:tt0013442`, `tmdb:movie:653`, `tmdb:tv:1399`, or `title:nosferatu-1922`; None without a title."""
    ids = part.get("external_ids") or {}
    for name in ID_ORDER:
        if name in ids:
            kind = f"{'tv' if part.get('kind') == 'series' else 'movie'}:" if name == "tmdb" else ""
            return f"{name}:{kind}{ids[name]}"
    if not isinstance(part.get("title"), str):
        return None
    year = part.get("year")
    return f"title:{slugify(part['title'])[:MAX_SLUG_LENGTH]}" + (f"-{year}" if isinstance(year, int) else "")


def derive_person_id(imdb: str = "", tmdb: str = "") -> str | None:
    """Return `imdb:nm4043618`, else `tmdb:person:1136406`, of a person's ids there; None if neither is valid."""
    if _IMDB_PERSON.fullmatch(imdb):
        return f"imdb:{imdb}"
    return f"tmdb:person:{tmdb}" if _TMDB_PERSON.fullmatch(tmdb) else None
