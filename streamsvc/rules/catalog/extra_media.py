"""Which files an extra shares with its title's film or episodes, although whoever plays it may not be allowed to.

Trailers may be open to viewers without a plan (STREAMSVC_EXTRAS), so their files must be their own.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from streamsvc.rules.playback.media_paths import MediaLocation, canonical_path, parse_media_url

_PATH_PARAMETERS = re.compile(r";[^/]*")
_UNKNOWN_FOLDER = MediaLocation("", "/")
"""Where the variants of a part are that has no manifest in the catalogue."""


class NamedFile(NamedTuple):
    """A file, or a folder if the path ends in `/`, and the field of the record that names it."""

    field: str
    host: str
    path: str

    def overlaps(self, other: "NamedFile") -> bool:
        """Whether both may be the same file, or one in the other's folder. A path without a host may be on any."""
        if self.host and other.host and self.host != other.host:
            return False
        return self.path == other.path or self.contains(other) or other.contains(self)

    def contains(self, other: "NamedFile") -> bool:
        """Whether this is a folder with the other's path below it."""
        return self.is_folder and other.path.startswith(self.path)

    @property
    def is_folder(self) -> bool:
        return self.path.endswith("/")


def list_shared_fields(extra: Any, items: Iterable[Any]) -> list[str]:
    """Return the fields of an extra, such as `media.hls`, that name files of one of the items.

    `extra` and the items have `media` and `variants`, as the parts of records do.
    """
    files = list(map(_normalized, iter_files(extra)))
    taken = [_normalized(file) for item in items for file in iter_files(item)] if files else []
    return list(dict.fromkeys(file.field for file in files if any(map(file.overlaps, taken))))


def iter_files(part: Any) -> Iterator[NamedFile]:
    """Yield the manifests and the declared variants of a part; invalid addresses are left out."""
    locations = []
    for kind, url in (part.media or {}).items():
        try:
            locations.append(location := parse_media_url(url))
        except ValueError:
            continue
        yield NamedFile(f"media.{kind}", location.host, location.path)
    for index, variant in enumerate(part.variants):
        for location in locations or [_UNKNOWN_FOLDER]:
            path = canonical_path(variant.path if variant.path.startswith("/") else location.folder + variant.path)
            if path is not None:
                yield NamedFile(f"variants[{index}].path", location.host, path)


def _normalized(file: NamedFile) -> NamedFile:
    """Return a file with what the ways to write its path share on servers that ignore case or parameters of a path."""
    return file._replace(path=strip_path_parameters(unicodedata.normalize("NFC", file.path).casefold()))


def strip_path_parameters(path: str) -> str:
    """Return a path without its parameters: `/films;a=1/b.m3u8;v=2` -> `/films/b.m3u8`. Some servers ignore them."""
    return _PATH_PARAMETERS.sub("", path) if ";" in path else path
