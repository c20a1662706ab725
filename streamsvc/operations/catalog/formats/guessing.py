"""Guesses the format of a file from its first bytes; its name and media type say nothing."""

import json
import re
from collections.abc import Iterable
from typing import Any

from streamsvc.operations.catalog.formats import UTF_16_BYTE_ORDER_MARKS, ReadOptions
from streamsvc.operations.catalog.formats.columns import find_columns
from streamsvc.operations.catalog.formats.imdb_files import BASICS_COLUMNS, OTHER_FILES, split_cells
from streamsvc.operations.catalog.formats.library import LIBRARY_EXTENSIONS, is_tar
from streamsvc.operations.catalog.formats.table import DELIMITERS, MAX_COLUMNS

HEAD_BYTES = 64 * 1024
MAX_LINES = 20
"""Lines in which a catalogue file must have a first object, whatever precedes it."""
IGNORED_MEMBERS = ("__MACOSX/", ".DS_Store", "Thumbs.db")
"""Parts of the names of files that desktops add to archives."""

XML_ROOTS = {"movie": "nfo", "tvshow": "nfo", "episodedetails": "nfo", "tv": "xmltv"}
_XML_ROOT = re.compile(r"<([A-Za-z][\w-]*)")
_XML_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_TMDB_KEYS = {"adult", "backdrop_path", "poster_path", "original_title", "original_name", "first_air_date",
              "vote_count", "genre_ids", "release_date", "overview"}  # fmt: skip
_DIRECT_PUBLISHER_KEYS = {"movies", "series", "shortFormVideos", "tvSpecials", "providerName"}


def guess_archive_format(names: Iterable[str]) -> str | None:
    """Return the format of an archive by its files: `nfo`, `imdb`, or None if it is one packed file."""
    files = [name for name in names if is_content(name)]
    if any(name.lower().endswith(LIBRARY_EXTENSIONS) for name in files):
        return "nfo"
    return "imdb" if len(files) > 1 else None


def is_content(name: str) -> bool:
    """Whether a member of an archive is a file that its owner put there."""
    return not name.endswith("/") and not any(part in name for part in IGNORED_MEMBERS)


def guess_format(head: bytes, options: ReadOptions | None = None) -> str | None:
    """Return the format of a file that begins with these bytes; None if it looks like none."""
    if is_tar(head):
        return "nfo"
    text = _decode(head)
    start = text.lstrip()
    if start.startswith(("#EXTM3U", "#EXTINF")):
        return "m3u"
    if start.startswith("<"):
        return _guess_xml(start)
    if start.startswith("["):
        return _guess_object(start[1:].lstrip())
    if start.startswith("{"):
        return _guess_object(start)
    return _guess_table(text, options or ReadOptions()) or _guess_later_object(text)


def _decode(head: bytes) -> str:
    if head.startswith(UTF_16_BYTE_ORDER_MARKS):
        return head[: len(head) // 2 * 2].decode("utf-16", errors="replace")
    if head[:1] == b"\0":
        return head[: len(head) // 2 * 2].decode("utf-16-be", errors="replace")
    if head[1:2] == b"\0":
        return head[: len(head) // 2 * 2].decode("utf-16-le", errors="replace")
    return head.decode("utf-8-sig", errors="replace")


def _guess_xml(start: str) -> str | None:
    root = next(iter(_XML_ROOT.findall(_XML_COMMENT.sub("", start[:4000]))), "")
    return XML_ROOTS.get(root)


def _guess_object(start: str) -> str | None:
    """Guess by the members of the first object: those of a record, of TMDB, of a feed."""
    names = _member_names(start)
    if "external_id" in names:
        return "ndjson"
    if "assets" in names or len(_DIRECT_PUBLISHER_KEYS & names) > 1:
        return "roku"
    if "id" in names and _TMDB_KEYS & names:
        return "tmdb"
    return "tmdb" if {"results", "page"} <= names else "ndjson"


def _member_names(start: str) -> set[str]:
    """Return the names of the members of the object at the start of the text, which may be cut off."""
    try:
        value: Any = json.JSONDecoder().raw_decode(start)[0]
    except (ValueError, RecursionError):
        return set(re.findall(r'"([A-Za-z_]{2,40})"\s*:', start[:8000]))
    return set(value) if isinstance(value, dict) else set()


def _guess_table(text: str, options: ReadOptions) -> str | None:
    """Guess `imdb` or `csv` by the header."""
    lines = text.splitlines()[:2]
    if not lines:
        return None
    if tuple(split_cells(lines[0].encode(errors="replace"))) in {BASICS_COLUMNS, *OTHER_FILES.values()}:
        return "imdb"
    if lines[0].lower().startswith("sep="):
        return "csv"
    for delimiter in DELIMITERS:
        names = [name.strip('"') for name in lines[0].split(delimiter)]
        targets = {
            column.target for column in find_columns(names[:MAX_COLUMNS], options.columns)[0] if not column.member
        }
        if targets & {"title", "external_id"} and (len(names) > 1 or len(targets) == len(names)):
            return "csv"
    return None


def _guess_later_object(text: str) -> str | None:
    return "ndjson" if any(line.lstrip().startswith("{") for line in text.splitlines()[:MAX_LINES]) else None
