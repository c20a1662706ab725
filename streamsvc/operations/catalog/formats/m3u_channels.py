"""The live channels of an M3U playlist, with the attributes that players of IPTV have in common.

What the playlist does not say, such as windows and plans, stays as it is stored. The attributes are those of Kodi's
pvr.iptvsimple: tvg-id, tvg-name, tvg-logo, tvg-chno, group-title, catchup, catchup-source, catchup-days.
"""

import re
from collections.abc import Iterator
from typing import Any

from streamsvc.operations.catalog.formats import FileEntry, channel_entry, rejected_entry
from streamsvc.operations.catalog.formats.media_addresses import find_extension, is_web_address
from streamsvc.operations.catalog.formats.playlists import PlaylistItem
from streamsvc.rules.catalog.codes import COUNTRIES, normalize_language_tag
from streamsvc.rules.catalog.text import slugify

DEFAULT_CATCHUP_HOURS = 24
MAX_CATCHUP_DAYS = 31
_NUMBER = re.compile(r"[0-9]{1,5}([.-][0-9]{1,3})?")
_XTREAM = re.compile(r"(https?://[^/]+)/(?:live/)?([^/]+)/([^/]+)/(\d+)(\.\w+)?")
MEDIA_KINDS = {"mpd": "dash", "ts": "mpegts", "m2ts": "mpegts"}
"""By the extension of the address; any other is HLS."""


class ChannelReader:
    """Converts the live channels of one playlist, which may have an id or a name only once."""

    def __init__(self, media_base_url: str | None):
        self.media_base_url = media_base_url
        self.external_ids: set[str] = set()

    def entry(self, item: PlaylistItem) -> FileEntry:
        """Return the entry of a channel: its id is that of the guide, or made of the name if another one has that."""
        guide_id = item.attributes.get("tvg-id", "")
        name, url = item.name or guide_id, item.resolve_url(self.media_base_url) or ""
        external_id = guide_id if guide_id and guide_id not in self.external_ids else slugify(name) or guide_id
        if not external_id:
            return rejected_entry(item.line, "missing", "A channel must have a name.", "name")
        if external_id in self.external_ids:
            reason = "Another channel of the playlist has this id or name."
            return rejected_entry(item.line, "duplicate", reason, "external_id", external_id)
        if not is_web_address(url):
            reason = "The address must be a URL with http or https; a relative path needs the address of its folder."
            return rejected_entry(item.line, "not_taken", reason, "media", external_id)
        self.external_ids.add(external_id)
        kind = MEDIA_KINDS.get(find_extension(url), "hls")
        value = {"external_id": external_id, "name": name[:500], "media": {kind: url}} | _details(item.attributes)
        if guide_id and guide_id != external_id:
            value["guide_id"] = guide_id
        return channel_entry(item.line, value | _catchup(url, kind, item.playlist | item.attributes), "merge")


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
        "artwork": [{"role": "logo", "url": logo}] if is_web_address(logo) else None,
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
