"""The entries of an M3U playlist: addresses, each with the name and the attributes before it."""

import re
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple
from urllib.parse import unquote, urlsplit

from streamsvc.operations.catalog.formats import (
    FileEntry,
    decode_line,
    iter_lines,
    overlong_line_entry,
    rejected_entry,
)
from streamsvc.operations.catalog.formats.encodings import open_as_utf_8
from streamsvc.operations.catalog.formats.media_addresses import FILE_EXTENSIONS, find_extension, join_address

STREAM_EXTENSIONS = ("ts", "m2ts")
"""File extensions that live channels have too."""
VOD_TYPES = ("movie", "movies", "series", "vod", "video")
MAX_NAME_LENGTH = 600
"""Characters that are looked at: more than a record accepts."""
MIN_VOD_S = 60
"""The shortest film; live channels have durations such as 1 or 16 by mistake."""
PLAYER_OPTIONS = "|"
"""Separates an address from HTTP headers for Kodi."""
HLS_TAG = "#EXT-X-"
_INFO = re.compile(r"#EXTINF:\s*(-?\d{1,9})?(?:\.\d{1,9})?\s*(.*)", re.DOTALL)
_QUOTED = re.compile(r"""(?<![A-Za-z0-9_-])([A-Za-z0-9_-]{1,50})=(?:"([^"]{0,4000})"|'([^']{0,4000})')""")
_UNQUOTED = re.compile(r"(?<![A-Za-z0-9_-])([A-Za-z0-9_-]{1,50})=([^\s,\"']{1,4000})")


class PlaylistItem(NamedTuple):
    """An entry of a playlist; `line` is that of its address."""

    line: int
    name: str
    """As the playlist says it; may be empty."""
    url: str
    duration_s: int
    attributes: dict[str, str]
    """The attributes of its #EXTINF line, by lower-case name: tvg-id, tvg-logo, group-title, …"""
    playlist: dict[str, str]
    """The attributes of the #EXTM3U line."""

    @property
    def title(self) -> str:
        """The name, or that of the file."""
        return self.name or _name_of_address(self.url)

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

    def resolve_url(self, base_url: str | None) -> str | None:
        """Return the absolute address; None for a path relative to the playlist, if its folder has no address."""
        return self.url if "://" in self.url else base_url and join_address(base_url, self.url)


def iter_playlist(file: BinaryIO, encoding: str = "utf-8") -> Iterator[PlaylistItem | FileEntry]:
    """Yield the items of a playlist, with or without #EXTM3U, and the entries of lines that cannot be read."""
    file.seek(0)
    name, duration_s, attributes, group, playlist = "", -1, dict[str, str](), "", dict[str, str]()
    for number, raw in enumerate(iter_lines(open_as_utf_8(file, encoding)), 1):
        line = "" if raw is None else decode_line(raw).strip()
        if raw is None:
            yield overlong_line_entry(number)
        elif line.startswith("#EXTM3U"):
            playlist, _ = _split_attributes(line)
        elif info := _INFO.match(line):
            duration_s = int(info[1] or -1)
            attributes, name = _split_attributes(info[2])
        elif line.startswith("#EXTGRP:"):
            group = line.removeprefix("#EXTGRP:").strip()
        elif line.startswith(HLS_TAG):
            yield rejected_entry(number, "not_taken", "The file is a video's HLS playlist, not a list of titles.")
            return
        elif line and not line.startswith("#"):
            if group:
                attributes.setdefault("group-title", group)
            name = name or attributes.get("tvg-name", "")
            url = line.partition(PLAYER_OPTIONS)[0].strip()
            yield PlaylistItem(number, name[:MAX_NAME_LENGTH], url, duration_s, attributes, playlist)
            name, duration_s, attributes, group = "", -1, {}, ""


def _split_attributes(text: str) -> tuple[dict[str, str], str]:
    """Return the attributes, and the name after the first comma that is not in one."""
    head, _, name = _QUOTED.sub("", text).partition(",")
    found = {match[1].lower(): (match[2] or match[3] or "").strip() for match in _QUOTED.finditer(text)}
    return {match[1].lower(): match[2] for match in _UNQUOTED.finditer(head)} | found, name.strip()


def _name_of_address(url: str) -> str:
    try:
        name = unquote(urlsplit(url).path.replace("\\", "/").rstrip("/").rpartition("/")[2])
    except ValueError:
        return ""
    return re.sub(r"[._]+", " ", name.rpartition(".")[0] or name).strip()[:MAX_NAME_LENGTH]
