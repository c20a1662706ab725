"""Addresses of media and artwork from the paths of a library."""

import re
from urllib.parse import quote, urlsplit

_WEB_ADDRESS = re.compile(r'https?://[^\s<>"]+')
MAX_ADDRESS_LENGTH = 2_000
MEDIA_KINDS = {"m3u8": "hls", "mpd": "dash"}
FILE_EXTENSIONS = ("mp4", "m4v", "mkv", "webm", "mov", "avi", "mpg", "mpeg", "ts", "m2ts", "wmv", "flv", "ogv", "3gp")
MEDIA_EXTENSIONS = (*MEDIA_KINDS, *FILE_EXTENSIONS)
"""In the order of preference, if a title has several files."""


def find_extension(path: str) -> str:
    """Return the extension of a path or an address, in lower case."""
    try:
        name = urlsplit(path).path.rpartition("/")[2]
    except ValueError:
        return ""
    return name.rpartition(".")[2].lower() if "." in name else ""


def find_media_kind(url: str) -> str | None:
    """Return the name under which a record has this media file: `hls`, `dash`, or the extension of a video file."""
    extension = find_extension(url)
    return MEDIA_KINDS.get(extension) or (extension if extension in FILE_EXTENSIONS else None)


def is_address(text: str) -> bool:
    """Whether text is an address already: absolute, or a path on the service's own host."""
    return text.startswith(("http://", "https://", "/"))


def is_web_address(text: str) -> bool:
    """Whether text is an absolute address that a record accepts; a path would be one of another system's disk."""
    return len(text) <= MAX_ADDRESS_LENGTH and _WEB_ADDRESS.fullmatch(text) is not None


def join_address(base_url: str, path: str) -> str:
    """Return the address of a library's file under the address of its folder."""
    return f"{base_url.rstrip('/')}/{quote(path.replace(chr(92), '/').removeprefix('./').lstrip('/'))}"
