"""M3U playlists of films, episodes and live channels, as IPTV panels and players write them.

An entry that lasts a minute or more, with the address of a file, or under `/movie/` or `/series/`, is a film or an
episode: `Show S01 E02` and `Show 1x02` belong to the series `Show`. Every other entry is a live channel.
"""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any, BinaryIO

import msgspec

from streamsvc.operations.catalog.formats import FileEntry, FileWarning, ReadOptions, rejected_entry
from streamsvc.operations.catalog.formats.encodings import DetectedEncoding, detect_encoding
from streamsvc.operations.catalog.formats.m3u_channels import ChannelReader
from streamsvc.operations.catalog.formats.media_addresses import find_media_kind, is_address, is_web_address
from streamsvc.operations.catalog.formats.playlists import PlaylistItem, iter_playlist
from streamsvc.rules.catalog.cells import parse_external_id, split_title_year
from streamsvc.rules.catalog.external_ids import derive_external_id

UNTOLD_GROUPS = ("", "vod", "movie", "movies", "film", "films", "filme", "series", "serien", "tv shows", "undefined")
"""Groups that say nothing about the genre."""
_EPISODE = re.compile(
    r"(.{1,300}?)[\s._-]*\b(?:S(\d{1,3})[\s._-]*E(\d{1,4})|(\d{1,2})x(\d{1,3}))\b[\s._:-]*(.{0,300})", re.IGNORECASE
)
CREATE_TABLES = """
    PRAGMA journal_mode=OFF;
    CREATE TABLE shows(key PRIMARY KEY, line INTEGER UNIQUE) WITHOUT ROWID;
    CREATE TABLE episodes(key, season, number, line, body, PRIMARY KEY (key, season, number)) WITHOUT ROWID;
    BEGIN;
"""


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
        channels = ChannelReader(options.media_base_url)
        for item in iter_playlist(file, encoding.name):
            entry = item if isinstance(item, FileEntry) else _entry(item, index, channels)
            if entry is not None and entry.line > after:
                yield entry


def _entry(item: PlaylistItem, index: "_EpisodeIndex", channels: ChannelReader) -> FileEntry | None:
    """Return the entry of an item; None for an episode of a series whose entry is at another line."""
    if not item.is_vod:
        return channels.entry(item)
    if found := _EPISODE.fullmatch(item.title):
        return index.find_show_entry(item, found)
    title, year = split_title_year(item.title)
    part = {"kind": "movie", "title": title, "year": year, **_shared_fields(item)}
    part["runtime_s"] = item.duration_s if item.duration_s > 0 else None
    part["media"], warnings = _media(item, index.base_url)
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
    url = item.resolve_url(base_url)
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
