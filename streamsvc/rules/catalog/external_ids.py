"""The external id of a title whose file has none, so that the same title of two files is one title."""

from collections.abc import Mapping
from typing import Any

from streamsvc.rules.catalog.text import slugify

ID_ORDER = ("imdb", "tmdb", "tvdb", "tvmaze", "wikidata", "eidr", "anidb", "trakt")
"""The databases whose ids may name a title, best first."""
MAX_SLUG_LENGTH = 150


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
