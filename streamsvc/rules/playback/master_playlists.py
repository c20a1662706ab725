"""HLS master playlists (RFC 8216, section 4.3.4): the variants that a viewer may watch, with absolute URIs.

Variants and I-frame streams that are too high are removed, and renditions of video to which no variant refers any more.
Audio, subtitles and everything else stay. A media playlist has no variants, so only its URIs change.
"""

import re
from collections.abc import Callable
from urllib.parse import parse_qs, urljoin, urlsplit

from streamsvc.rules.playback.media_paths import UNLIMITED_HEIGHT

VARIANT, I_FRAMES, RENDITION, DEFINE = (
    f"#EXT-X-{name}:" for name in ("STREAM-INF", "I-FRAME-STREAM-INF", "MEDIA", "DEFINE")
)
URI_ATTRIBUTES = ("URI", "SERVER-URI")
MAX_HEIGHT_DIGITS = 6
MAX_EXPANSION = 1024 * 1024
"""How many characters the values of variables may add to a playlist."""
_ATTRIBUTE = re.compile(r'(?<![A-Z0-9-])([A-Z0-9-]+)=("[^"]*"|[^",]*)')  # one attempt per name, so in linear time
_VARIABLE = re.compile(r"\{\$([A-Za-z0-9_-]+)\}")
_RESOLUTION = re.compile(r"[0-9]+x0*([0-9]+)")


class InvalidPlaylist(ValueError):
    """The text is not an HLS playlist."""


def filter_master_playlist(
    text: str,
    url: str,
    is_allowed: Callable[[int | None, str], bool],
    rewrite_url: Callable[[str], str] = lambda url: url,
) -> str | None:
    """Return the playlist without the variants that are not allowed; None if no variant is left.

    `url` is the playlist's. `is_allowed(height, url)` decides on a variant, whose height is in lines and None if the
    playlist does not say it. `rewrite_url` changes the URLs of other playlists. Raises InvalidPlaylist.
    """
    lines = [line.strip() for line in text.removeprefix("\ufeff").splitlines()]
    if not lines or lines[0] != "#EXTM3U":
        raise InvalidPlaylist("the first line is not #EXTM3U")
    resolve = _Resolver(url, lines)
    kept: list[str] = []
    video_groups: set[str | None] = set()
    had_variant, has_variant, pending = False, False, ""
    for line in filter(None, lines):
        if line.startswith(VARIANT):
            pending = line
        elif line.startswith(I_FRAMES):
            if is_allowed(_height(line), resolve(_attributes(line).get("URI", ""))):
                kept.append(_replace_uris(line, resolve, rewrite_url))
        elif line.startswith("#"):
            kept.append(_replace_uris(line, resolve, rewrite_url))
        elif pending:
            had_variant, target = True, resolve(line)
            if is_allowed(_height(pending), target):
                has_variant = True
                video_groups.add(_attributes(pending).get("VIDEO"))
                kept += [pending, rewrite_url(target)]
            pending = ""
        else:
            kept.append(resolve(line))
    if had_variant and not has_variant:
        return None
    return "\n".join(line for line in kept if not _is_unused_video(line, video_groups)) + "\n"


class _Resolver:
    """Makes a URI of the playlist absolute, with the variables that the playlist defines (RFC 8216bis, 4.4.2.3)."""

    def __init__(self, url: str, lines: list[str]) -> None:
        self.url = url
        self.variables: dict[str, str] = {}
        self.remaining_expansion = MAX_EXPANSION
        query = parse_qs(urlsplit(url).query)
        for defined in (_attributes(line) for line in lines if line.startswith(DEFINE)):
            if "NAME" in defined:
                self.variables[defined["NAME"]] = defined.get("VALUE", "")
            elif (name := defined.get("QUERYPARAM")) and name in query:
                self.variables[name] = query[name][0]

    def __call__(self, uri: str) -> str:
        expanded = self._expand(uri)
        try:
            return urljoin(self.url, expanded)
        except ValueError as error:
            raise InvalidPlaylist(f"a URI is not valid: {error}") from None

    def _expand(self, uri: str) -> str:
        try:
            self.remaining_expansion -= sum(len(self.variables[name]) for name in _VARIABLE.findall(uri))
        except KeyError as error:
            raise InvalidPlaylist(f"the variable {error} is not defined") from None
        if self.remaining_expansion < 0:
            raise InvalidPlaylist("its variables make it too long")
        return _VARIABLE.sub(lambda match: self.variables[match[1]], uri)


def _attributes(line: str) -> dict[str, str]:
    return {name: value.strip('"') for name, value in _ATTRIBUTE.findall(line.partition(":")[2])}


def _height(line: str) -> int | None:
    resolution = _RESOLUTION.fullmatch(_attributes(line).get("RESOLUTION", ""))
    if resolution is None:
        return None
    return int(resolution[1]) if len(resolution[1]) <= MAX_HEIGHT_DIGITS else UNLIMITED_HEIGHT


def _replace_uris(line: str, resolve: _Resolver, rewrite_url: Callable[[str], str]) -> str:
    """Make the URIs in a tag's attributes absolute."""
    is_playlist = line.startswith((RENDITION, I_FRAMES))

    def replace(match: re.Match[str]) -> str:
        name, value = match.groups()
        if name not in URI_ATTRIBUTES or not value.startswith('"'):
            return match[0]
        target = resolve(value.strip('"'))
        return f'{name}="{rewrite_url(target) if is_playlist else target}"'

    tag, colon, attributes = line.partition(":")
    return line if not line.startswith("#EXT-X-") else f"{tag}{colon}{_ATTRIBUTE.sub(replace, attributes)}"


def _is_unused_video(line: str, video_groups: set[str | None]) -> bool:
    if not line.startswith(RENDITION):
        return False
    attributes = _attributes(line)
    return attributes.get("TYPE") == "VIDEO" and attributes.get("GROUP-ID") not in video_groups
