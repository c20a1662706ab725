"""M3U playlists of live channels, with the attributes that players of IPTV have in common.

Each address with its `#EXTINF` line is a channel. What the playlist does not say, such as windows and plans, stays as
it is stored. The attributes are those of Kodi's pvr.iptvsimple: tvg-id, tvg-name, tvg-logo, tvg-chno, group-title,
catchup, catchup-source, catchup-days.
"""

import re
from collections.abc import Iterator
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from streamsvc.operations.catalog.formats import (
    FileEntry,
    channel_entry,
    decode_line,
    iter_lines,
    overlong_line_entry,
    rejected_entry,
)
from streamsvc.rules.catalog.codes import COUNTRIES, normalize_language_tag
from streamsvc.rules.catalog.text import slugify

DEFAULT_CATCHUP_HOURS = 24
MAX_CATCHUP_DAYS = 31
_ATTRIBUTE = re.compile(r"""([A-Za-z][A-Za-z0-9_-]*)=(?:"([^"]*)"|'([^']*)'|([^\s,"']+))""")
_INFO = re.compile(r'([^",]*(?:"[^"]*"[^",]*)*),(.*)')
"""The attributes, whose quoted values may have commas, and the name."""
_NUMBER = re.compile(r"[0-9]{1,5}([.-][0-9]{1,3})?")
_URL = re.compile(r'https?://[^\s<>"]{1,1990}')
_XTREAM = re.compile(r"(https?://[^/]+)/(?:live/)?([^/]+)/([^/]+)/(\d+)(\.\w+)?")
MEDIA_KINDS = {"mpd": "dash", "ts": "mpegts", "m2ts": "mpegts"}
"""By the extension of the address; any other is HLS."""


def read_m3u_channels(file: BinaryIO, after: int = 0) -> Iterator[FileEntry]:
    """Yield the channels of a playlist; an entry's line is that of its address."""
    playlist: dict[str, str] = {}
    info: tuple[dict[str, str], str] | None = None
    names: set[str] = set()
    for number, raw in enumerate(iter_lines(file), 1):
        if raw is None:
            info = None
            if number > after:
                yield overlong_line_entry(number)
            continue
        line = decode_line(raw).strip()
        if line.startswith("#EXTM3U"):
            playlist = _parse_attributes(line)
        elif line.startswith("#EXTINF:"):
            info = _parse_info(line.removeprefix("#EXTINF:"))
        elif line.startswith("#EXTGRP:") and info:
            info[0].setdefault("group-title", line.removeprefix("#EXTGRP:").strip())
        elif line and not line.startswith("#"):
            entry = _entry(number, line, info, playlist, names)
            info = None
            if number > after:
                yield entry


def _parse_attributes(line: str) -> dict[str, str]:
    return {m[1].lower(): next(filter(None, m.groups()[1:]), "").strip() for m in _ATTRIBUTE.finditer(line)}


def _parse_info(text: str) -> tuple[dict[str, str], str]:
    """Return the attributes of an `#EXTINF` line, with its duration as `duration`, and the name."""
    split = _INFO.fullmatch(text)
    head, name = split.groups() if split else (text, "")
    duration = head.split()[0] if head.split() else "-1"
    return {**_parse_attributes(head), "duration": duration}, name.strip()


def _entry(
    number: int, address: str, info: tuple[dict[str, str], str] | None, playlist: dict[str, str], names: set[str]
) -> FileEntry:
    if info is None:
        return rejected_entry(number, "missing", "An address must follow its #EXTINF line.", "name")
    attributes, name = info
    guide_id, url = attributes.get("tvg-id", ""), address.partition("|")[0]
    name = name or attributes.get("tvg-name", "") or guide_id
    external_id = guide_id if guide_id and guide_id not in names else slugify(name) or guide_id
    if not name or not external_id:
        return rejected_entry(number, "missing", "A channel must have a name.", "name")
    if external_id in names:
        reason = "Another channel of the playlist has this id or name."
        return rejected_entry(number, "duplicate", reason, "external_id", external_id)
    if not _URL.fullmatch(url):
        reason = "The address must be a URL with http or https."
        return rejected_entry(number, "not_taken", reason, "media", external_id)
    if attributes["duration"].removesuffix(".0") not in ("-1", "0"):
        reason = "It has a duration, so it is no live channel."
        return rejected_entry(number, "not_taken", reason, "kind", external_id)
    names.add(external_id)
    kind = MEDIA_KINDS.get(urlsplit(url).path.rpartition(".")[2].lower(), "hls")
    value = {"external_id": external_id, "name": name[:500], "media": {kind: url}} | _details(attributes)
    if guide_id and guide_id != external_id:
        value["guide_id"] = guide_id
    return channel_entry(number, value | _catchup(url, kind, playlist | attributes), "merge")


def _details(attributes: dict[str, str]) -> dict[str, Any]:
    """Return the members that an `#EXTINF` line has, if they are valid: their conventions vary."""
    number, logo = (
        attributes.get("tvg-chno", "") or attributes.get("channel-number", ""),
        attributes.get("tvg-logo", ""),
    )
    countries = re.split(r"[;,/\s]+", attributes.get("tvg-country", "").upper())
    details = {
        "number": number if _NUMBER.fullmatch(number) else None,
        "group": attributes.get("group-title", "").split(";")[0].strip()[:500],
        "artwork": [{"role": "logo", "url": logo}] if _URL.fullmatch(logo) else None,
        "countries": [code for code in countries if code in COUNTRIES],
        "languages": list(_languages(attributes.get("tvg-language", ""))),
    }
    return {name: value for name, value in details.items() if value}


def _languages(text: str) -> Iterator[str]:
    for tag in re.split(r"[;,/\s]+", text):
        try:
            yield normalize_language_tag(tag)
        except ValueError:
            continue  # a name, such as "English"


def _catchup(url: str, kind: str, attributes: dict[str, str]) -> dict[str, Any]:
    """Return the members about catch-up: none unless the playlist says that the channel has it."""
    mode = attributes.get("catchup", "") or attributes.get("catchup-type", "")
    days = attributes.get("catchup-days", "") or attributes.get("timeshift", "") or attributes.get("tvg-rec", "")
    source = attributes.get("catchup-source", "")
    if not (mode or source) or days == "0" or mode.lower() in ("none", "disabled"):
        return {}
    hours = DEFAULT_CATCHUP_HOURS
    if days.isascii() and days.isdecimal():
        hours = 24 * min(int(days[:4]), MAX_CATCHUP_DAYS)
    template = _catchup_template(url, mode.lower(), source)
    return {"catchup_hours": hours, **({"catchup_media": {kind: template}} if template else {})}


def _catchup_template(url: str, mode: str, source: str) -> str | None:
    """Return the template of the archive's addresses in one of the modes of players; None if there is none."""
    if mode in ("shift", "timeshift"):
        return f"{url}{'&' if '?' in url else '?'}utc={{utc}}&lutc={{lutc}}"
    if mode in ("flussonic", "fs", "flussonic-hls"):
        stem, dot, query = url.partition(".m3u8")
        return f"{stem}-{{utc}}-{{duration}}.m3u8{query}" if dot else None
    if mode == "xc" and (match := _XTREAM.fullmatch(url)):
        host, user, password, stream, extension = match.groups()
        when = "{duration:60}/{Y}-{m}-{d}:{H}-{M}"
        return f"{host}/timeshift/{user}/{password}/{when}/{stream}{extension or '.ts'}"
    if not source:
        return None
    return source if source.startswith(("http://", "https://")) and mode != "append" else url + source
