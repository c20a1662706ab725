"""M3U playlists of films and episodes, as IPTV panels and players write them.

An entry that lasts a minute or more, with the address of a file, or under `/movie/` or `/series/`, is a film or an
episode: `Show S01 E02` and `Show 1x02` belong to the series `Show`. Every other entry is a live channel, which is
handed on as one.
"""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import unquote, urlsplit

import msgspec

from streamsvc.operations.catalog.formats import (
    FileEntry,
    FileWarning,
    ReadOptions,
    decode_line,
    iter_lines,
    overlong_line_entry,
    rejected_entry,
)
from streamsvc.operations.catalog.formats.encodings import DetectedEncoding, detect_encoding, open_as_utf_8
from streamsvc.operations.catalog.formats.media_addresses import (
    FILE_EXTENSIONS,
    find_extension,
    find_media_kind,
    is_address,
    is_web_address,
    join_address,
)
from streamsvc.rules.catalog.cells import parse_external_id, split_title_year
from streamsvc.rules.catalog.external_ids import derive_external_id

STREAM_EXTENSIONS = ("ts", "m2ts")
"""File extensions that live channels have too."""
VOD_TYPES = ("movie", "movies", "series", "vod", "video")
UNTOLD_GROUPS = ("", "vod", "movie", "movies", "film", "films", "filme", "series", "serien", "tv shows", "undefined")
"""Groups that say nothing about the genre."""
MAX_TITLE_LENGTH = 600
"""Characters that are looked at: more than a record accepts."""
MIN_VOD_S = 60
"""The shortest film; live channels have durations such as 1 or 16 by mistake."""
PLAYER_OPTIONS = "|"
"""Separates an address from HTTP headers for Kodi."""
HLS_TAG = "#EXT-X-"
_INFO = re.compile(r"#EXTINF:\s*(-?\d{1,9})?(?:\.\d{1,9})?\s*(.*)", re.DOTALL)
_ATTRIBUTE = re.compile(r'(?<![A-Za-z0-9_-])([A-Za-z0-9_-]{1,50})="([^"]{0,4000})"')
_EPISODE = re.compile(
    r"(.{1,300}?)[\s._-]*\b(?:S(\d{1,3})[\s._-]*E(\d{1,4})|(\d{1,2})x(\d{1,3}))\b[\s._:-]*(.{0,300})", re.IGNORECASE
)
CREATE_TABLES = """
    PRAGMA journal_mode=OFF;
    CREATE TABLE shows(key PRIMARY KEY, line INTEGER UNIQUE) WITHOUT ROWID;
    CREATE TABLE episodes(key, season, number, line, body, PRIMARY KEY (key, season, number)) WITHOUT ROWID;
    BEGIN;
"""


class PlaylistItem(NamedTuple):
    """An entry of a playlist; `line` is that of its address."""

    line: int
    title: str
    url: str
    duration_s: int
    attributes: dict[str, str]
    """The attributes of its #EXTINF line, by lower-case name: tvg-id, tvg-logo, group-title, …"""

    @property
    def is_vod(self) -> bool:
        """Whether it is a film or an episode, and not a live channel."""
        path = self.url.partition("?")[0].lower()
        extension = find_extension(self.url)
        return (
            self.duration_s >= MIN_VOD_S
            or self.attributes.get("tvg-type", self.attributes.get("type", "")).lower() in VOD_TYPES
            or "/movie/" in path
            or "/series/" in path
            or (extension in FILE_EXTENSIONS and extension not in STREAM_EXTENSIONS)
        )


def read_m3u(file: BinaryIO, after: int = 0, options: ReadOptions | None = None) -> Iterator[FileEntry]:
    """Yield the entries of a playlist, which is read twice: a series is one entry, at the line of its first episode."""
    options = options or ReadOptions()
    encoding = DetectedEncoding(options.encoding) if options.encoding else detect_encoding(file)
    with closing(_EpisodeIndex(options.media_base_url)) as index:
        for item in iter_playlist(file, encoding.name):
            if isinstance(item, PlaylistItem) and item.is_vod and (found := _EPISODE.fullmatch(item.title)):
                index.add(item, found)
        if after == 0 and encoding.warnings:
            yield FileEntry(1, warnings=encoding.warnings)
        for item in iter_playlist(file, encoding.name):
            entry = item if isinstance(item, FileEntry) else _entry(item, index, options.media_base_url)
            if entry is not None and entry.line > after:
                yield entry


def iter_playlist(file: BinaryIO, encoding: str = "utf-8") -> Iterator[PlaylistItem | FileEntry]:
    """Yield the items of a playlist, with or without #EXTM3U, and the entries of lines that cannot be read."""
    file.seek(0)
    title, duration_s, attributes, group = "", -1, dict[str, str](), ""
    for number, raw in enumerate(iter_lines(open_as_utf_8(file, encoding)), 1):
        line = "" if raw is None else decode_line(raw).strip()
        if raw is None:
            yield overlong_line_entry(number)
        elif info := _INFO.match(line):
            duration_s = int(info[1] or -1)
            attributes = {name.lower(): value.strip() for name, value in _ATTRIBUTE.findall(info[2])}
            title = _ATTRIBUTE.sub("", info[2]).partition(",")[2].strip()
        elif line.startswith("#EXTGRP:"):
            group = line.removeprefix("#EXTGRP:").strip()
        elif line.startswith(HLS_TAG):
            yield rejected_entry(number, "not_taken", "The file is a video's HLS playlist, not a list of titles.")
            return
        elif line and not line.startswith("#"):
            if group:
                attributes.setdefault("group-title", group)
            name = title or attributes.get("tvg-name") or _name_of_address(line)
            url = line.partition(PLAYER_OPTIONS)[0].strip()
            yield PlaylistItem(number, name[:MAX_TITLE_LENGTH], url, duration_s, attributes)
            title, duration_s, attributes, group = "", -1, {}, ""


def _name_of_address(url: str) -> str:
    try:
        name = unquote(urlsplit(url).path.replace("\\", "/").rstrip("/").rpartition("/")[2])
    except ValueError:
        return ""
    return re.sub(r"[._]+", " ", name.rpartition(".")[0] or name).strip()


def _entry(item: PlaylistItem, index: "_EpisodeIndex", base_url: str | None) -> FileEntry | None:
    """Return the entry of an item; None for an episode of a series whose entry is at another line."""
    if not item.is_vod:
        attributes = item.attributes
        channel = {"kind": "channel", "name": item.title, "url": item.url, "attributes": attributes}
        return FileEntry(item.line, channel={**channel, "group": attributes.get("group-title")})
    if found := _EPISODE.fullmatch(item.title):
        return index.find_show_entry(item, found)
    title, year = split_title_year(item.title)
    part = {"kind": "movie", "title": title, "year": year, **_shared_fields(item)}
    part["runtime_s"] = item.duration_s if item.duration_s > 0 else None
    media, warnings = _media(item, base_url)
    part["media"] = media
    part = {name: value for name, value in part.items() if value}
    part["external_id"] = external_id = derive_external_id(part) or ""
    if not external_id:
        return rejected_entry(item.line, "missing", "The entry has no title.", "title")
    return FileEntry(item.line, part=part, external_id=external_id, warnings=warnings)


def _shared_fields(item: PlaylistItem) -> dict[str, Any]:
    """Return the fields that a film and a series have: ids, genres from the group, the logo as its poster."""
    attributes = item.attributes
    ids = {name: attributes.get(f"{name}-id") or attributes.get(f"tvg-{name}") for name in ("imdb", "tmdb", "tvdb")}
    if attributes.get("tvg-id", "").startswith("tt") and not ids["imdb"]:
        ids["imdb"] = attributes["tvg-id"]
    logo = attributes.get("tvg-logo", "")
    groups = re.split(r"[;|/]", attributes.get("group-title", ""))
    return {
        "external_ids": {name: parse_external_id(name, text) for name, text in ids.items() if text},
        "genres": [group.strip()[:64] for group in groups if group.strip().lower() not in UNTOLD_GROUPS][:20],
        "artwork": [{"role": "poster", "url": logo}] if is_web_address(logo) else [],
    }


def _media(item: PlaylistItem, base_url: str | None) -> tuple[dict[str, str], tuple[FileWarning, ...]]:
    """Return the media of an item; a path relative to the playlist needs the address of its folder."""
    is_absolute = "://" in item.url
    url = item.url if is_absolute else base_url and join_address(base_url, item.url)
    if not url or not is_address(url):
        reason = "Entries with a relative path need the address of their folder; they were imported without media."
        return {}, (FileWarning("media", "relative_address", reason),)
    return {find_media_kind(url) or "hls": url}, ()


class _EpisodeIndex:
    """A temporary database of the playlist's episodes, by series."""

    def __init__(self, base_url: str | None) -> None:
        self.base_url = base_url
        self.connection = sqlite3.connect("", isolation_level=None)  # a temporary file that SQLite deletes on close
        self.connection.executescript(CREATE_TABLES)

    def close(self) -> None:
        """Close and delete the database."""
        self.connection.close()

    def add(self, item: PlaylistItem, found: re.Match[str]) -> None:
        """Add an episode. Of two with one number the later counts."""
        season, number = int(found[2] or found[4]), int(found[3] or found[5])
        media, _ = _media(item, self.base_url)
        body = {
            "number": number,
            "title": found[6].strip() or None,
            "runtime_s": item.duration_s if item.duration_s > 0 else None,
            "media": media or None,
        }
        encoded = msgspec.json.encode({name: value for name, value in body.items() if value is not None})
        key = _show_key(found)
        self.connection.execute("INSERT OR IGNORE INTO shows VALUES (?, ?)", (key, item.line))
        self.connection.execute(
            "INSERT OR REPLACE INTO episodes VALUES (?, ?, ?, ?, ?)", (key, season, number, item.line, encoded)
        )

    def find_show_entry(self, item: PlaylistItem, found: re.Match[str]) -> FileEntry | None:
        """Return the entry of a series if its first episode is at the item's line."""
        key = _show_key(found)
        row = self.connection.execute("SELECT key FROM shows WHERE line = ?", (item.line,)).fetchone()
        if row is None:
            return None
        seasons: dict[int, list] = {}
        select = "SELECT season, body FROM episodes WHERE key = ? ORDER BY season, number LIMIT 5000"
        for season, body in self.connection.execute(select, (key,)):
            seasons.setdefault(season, []).append(msgspec.json.decode(body))
        title, year = split_title_year(found[1].strip(" .-_"))
        part = {"kind": "series", "title": title, "year": year, **_shared_fields(item)}
        part["seasons"] = [{"number": number, "episodes": episodes} for number, episodes in seasons.items()]
        part = {name: value for name, value in part.items() if value}
        part["external_id"] = external_id = derive_external_id(part) or key
        return FileEntry(item.line, part=part, external_id=external_id, warnings=_media(item, self.base_url)[1])


def _show_key(found: re.Match[str]) -> str:
    """Return the name by which episodes belong together; lone surrogates, which no database stores, are replaced."""
    return found[1].strip(" .-_").casefold().encode(errors="replace").decode()
