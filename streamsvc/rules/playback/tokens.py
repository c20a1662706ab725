"""Playback tokens: their claims, their lifetime and the paths they allow.

A playback token (`grant` in the API) is a JSON Web Token (RFC 7519, HS256), so any proxy, CDN or edge function can
verify it without a request to this service. It lives as long as the stream would without another heartbeat, and every
heartbeat returns a new one: a viewer who loses access is refused the media within that time, on every server.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True)
class PlaybackToken:
    """A playback token. `paths` are the folders it allows; `max_height` is in lines, None for no limit."""

    stream_id: str
    account_id: str
    profile_id: str
    item_id: str
    country: str | None
    paths: tuple[str, ...]
    max_height: int | None
    expires_at: datetime

    def claims(self) -> dict[str, Any]:
        """Return the JWT claims; `exp` is in whole seconds, rounded up."""
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


def is_expired(claims: dict[str, Any], now: datetime) -> bool:
    """Whether a token with these claims has expired."""
    return datetime.fromtimestamp(claims["exp"], UTC) <= now


@lru_cache(maxsize=10_000)
def allowed_path(url: str) -> str:
    """Return the path that a manifest allows: `/films/a/` for `https://cdn.example/films/a/master.m3u8`.

    A manifest at the root allows only itself, since its folder would allow everything.
    """
    path = unquote(urlsplit(url).path)
    folder = path.rpartition("/")[0] + "/"
    return folder if folder != "/" else path


def allows_path(claims: dict[str, Any], path: str) -> bool:
    """Whether a token with these claims allows the path of a request (without its query).

    No token allows an ambiguous path, with dot segments, backslashes or double escapes.
    """
    plain = unquote(path)
    if "%" in plain or "\\" in plain or "//" in plain or "\x00" in plain:
        return False
    if any(part in (".", "..") for part in plain.split("/")):
        return False
    return any(plain.startswith(folder) if folder.endswith("/") else plain == folder for folder in claims["paths"])
