"""A playback grant: what it is bound to, how long it lasts, and which paths it opens.

A grant is a JSON Web Token (RFC 7519, HS256), so that any proxy, CDN or edge function can check it without asking
us. It lives as long as the stream would without another heartbeat, and every heartbeat brings a fresh one: a viewer who
lost the right to watch is shut out of the media within that time, whoever serves them.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True)
class PlaybackToken:
    """`paths` are the folders that it opens; `max_height` in lines, None: no limit."""

    stream_id: str
    account_id: str
    profile_id: str
    item_id: str
    country: str | None
    paths: tuple[str, ...]
    max_height: int | None
    expires_at: datetime

    def claims(self) -> dict:
        """The claims of its token; `exp` in whole seconds, rounded up, as the standard has it."""
        return {
            "aud": "playback",
            "sub": self.stream_id,
            "account": self.account_id,
            "profile": self.profile_id,
            "item": self.item_id,
            "country": self.country,
            "paths": self.paths,
            "max_height": self.max_height,
            "exp": -int(-self.expires_at.timestamp() // 1),
        }


def is_expired(claims: dict, now: datetime) -> bool:
    return datetime.fromtimestamp(claims["exp"], UTC) <= now


@lru_cache(maxsize=10_000)
def allowed_path(url: str) -> str:
    """The folder of a manifest: `https://cdn.example/films/a/master.m3u8` opens `/films/a/`.

    A manifest that lies in no folder opens itself alone, lest it open everything.
    """
    path = unquote(urlsplit(url).path)
    folder = path.rpartition("/")[0] + "/"
    return folder if folder != "/" else path


def allows_path(claims: dict, path: str) -> bool:
    """Whether a grant with these claims opens the path of a request (without its query).

    A path that a server could read in two ways (dot segments, backslashes, doubled escapes) is opened by none.
    """
    plain = unquote(path)
    if "%" in plain or "\\" in plain or "//" in plain or "\x00" in plain:
        return False
    if any(part in (".", "..") for part in plain.split("/")):
        return False
    return any(plain.startswith(folder) if folder.endswith("/") else plain == folder for folder in claims["paths"])
