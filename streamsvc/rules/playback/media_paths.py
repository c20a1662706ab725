"""Which paths of a media server a playback token opens, and the checks of media addresses and requested paths.

A manifest opens its folder, as long as no other item's manifest lies in it. In a shared folder it opens its own file
and the files named after it: for `/films/a.m3u8` those that begin with `/films/a.`, `/films/a_`, `/films/a-` or
`/films/a/`, unless another item's manifest begins in the same way. If another item's has the same name but for its
extension, such as `/films/a.mpd`, it opens its own file alone.

In a token, a path that ends in `/` is a folder, one that ends in `*` is a prefix, and any other is a single file. A
path that begins with `//host` is opened on that host only, any other on all hosts of the token.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

ITEM_ID = "{item_id}"
UNLIMITED_HEIGHT = 1_000_000
STEM_SEPARATORS = (".", "_", "-", "/")
"""What may follow the name of a manifest in the names of its segments and renditions."""
_HOST = re.compile(r"(?=.{1,253}$)([a-z0-9]([a-z0-9_-]*[a-z0-9])?\.)*[a-z0-9]([a-z0-9_-]*[a-z0-9])?|\[[0-9a-f:.]+\]")


class MediaLocation(NamedTuple):
    """Where a manifest is. `host` is in lower case without a port, "" for the service's own."""

    host: str
    path: str

    @property
    def folder(self) -> str:
        """The folder of the manifest, with a slash at its end."""
        return self.path.rpartition("/")[0] + "/"

    @property
    def stem(self) -> str:
        """The path without the extension of its last part."""
        folder, _, name = self.path.rpartition("/")
        return f"{folder}/{name.rpartition('.')[0] or name}"


@lru_cache(maxsize=10_000)
def parse_media_url(url: str) -> MediaLocation:
    """Return the location of an absolute http(s) URL, or of a path on the service's public URL. Raises ValueError."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError("Must be a valid URL.") from None
    if parts.scheme not in ("", "http", "https") or bool(parts.scheme) != bool(host):
        raise ValueError("Must be an http or https URL, or a path that starts with one slash.")
    if host and not _HOST.fullmatch(f"[{host}]" if ":" in host else host):
        raise ValueError("Must have a valid host name; write international names in Punycode (xn--…).")
    if parts.username is not None or parts.password is not None:
        raise ValueError("Must not contain a user name or a password.")
    path = canonical_path(parts.path)
    if path is None or path.endswith("/"):
        raise ValueError("Must have the path of a file, without `//`, `.`, `..`, `*` or double percent-encoding.")
    return MediaLocation(host, path)


def canonical_path(path: str) -> str | None:
    """Return a path, percent-decoded; None if it does not start with exactly one slash, or if servers may read it in
    different ways: with empty segments, segments of dots and spaces, backslashes, control characters, double
    percent-encoding, or a `#`, at which nginx ends the path."""
    plain = unquote(path)
    if not plain.startswith("/") or "//" in plain or any(c in plain for c in "%\\*") or not plain.isprintable():
        return None
    if "#" in path:
        return None
    return None if any(part.startswith(".") and not part.strip(". ") for part in plain.split("/")) else plain


def split_media_pattern(pattern: str) -> tuple[MediaLocation, str]:
    """Return where a pattern such as `/media/{item_id}/master.m3u8` is, and the path up to the item's id."""
    location = parse_media_url(pattern.replace(ITEM_ID, "item_id"))
    return location, location.path[: location.path.index("item_id")]


def opened_paths(location: MediaLocation, neighbours: Iterable[str], has_own_folder: bool) -> list[str]:
    """Return the paths that an item's manifest opens.

    `has_own_folder`: whether no other item's manifest lies in its folder. If not, `neighbours` are the paths of other
    items that begin with its stem.
    """
    if has_own_folder and location.folder != "/":
        return [location.folder]
    others = tuple(neighbours)
    if any(location._replace(path=other).stem == location.stem for other in others):
        return [location.path]
    prefixes = [location.stem + separator for separator in STEM_SEPARATORS]
    free = [prefix for prefix in prefixes if not any(other.startswith(prefix) for other in others)]
    return [location.path, *(prefix if prefix.endswith("/") else f"{prefix}*" for prefix in free)]


def qualify_paths(paths_by_host: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the paths of a token: with their host unless all hosts open them, so that one host adds nothing."""
    qualified: dict[str, None] = {}
    for host, paths in paths_by_host.items():
        for path in paths:
            is_common = all(path in others for others in paths_by_host.values())
            qualified[path if is_common else f"//{host}{path}"] = None
    return list(qualified)


def paths_on_host(paths: Iterable[str], host: str) -> tuple[str, ...]:
    """Return which paths of a token are opened on one of its hosts, without the host."""
    prefix = f"//{host}"
    plain = (path.removeprefix(prefix) if path.startswith(f"{prefix}/") else path for path in paths)
    return tuple(path for path in plain if not path.startswith("//"))


def matches_any(path: str, patterns: Sequence[str]) -> bool:
    """Whether a canonical path is one of the files, or in one of the folders or prefixes, of a token."""
    return any(
        path.startswith(pattern.rstrip("*")) if pattern.endswith(("/", "*")) else path == pattern
        for pattern in patterns
    )


def picture_height(path: str, pattern: str) -> int | None:
    """Return the greatest picture height, in lines, that a path names according to the pattern; None if it names none.

    A group that is no number counts as unlimited height. Letters match in either case, as on some file systems.
    """
    heights = re.findall(pattern, path, re.ASCII | re.IGNORECASE)
    return max((int(height) if height.isdecimal() else UNLIMITED_HEIGHT for height in heights), default=None)
