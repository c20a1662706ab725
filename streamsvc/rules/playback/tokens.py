"""Playback tokens: their claims, their lifetime and the paths they allow.

A playback token (`grant` in the API) is a JSON Web Token (RFC 7519, HS256), so any proxy, CDN or edge function can
verify it without a request to this service. It lives as long as the stream would without another heartbeat, and every
heartbeat returns a new one: a viewer who loses access is refused the media within that time, on every server.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from typing import Any

import msgspec

from streamsvc.rules.playback.media_paths import canonical_path, matches_any, paths_on_host, picture_height

_PORT = re.compile(r":\d*$")


class MediaScope(msgspec.Struct, frozen=True):
    """What a stream may fetch: these paths of these hosts, see `paths_on_host`, but on no host those denied."""

    hosts: tuple[str, ...]
    paths: tuple[str, ...]
    denied: tuple[str, ...] = ()


@dataclass(frozen=True)
class PlaybackToken:
    """A playback token. `max_height` is in lines, None for no limit; `network` limits the client's address."""

    stream_id: str
    account_id: str
    profile_id: str
    item_id: str
    country: str | None
    media: MediaScope
    max_height: int | None
    network: str | None
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
            "hosts": self.media.hosts,
            "paths": self.media.paths,
            "denied": self.media.denied,
            "max_height": self.max_height,
            "network": self.network,
            "exp": -int(-self.expires_at.timestamp() // 1),
        }


def is_expired(claims: dict[str, Any], now: datetime) -> bool:
    """Whether a token with these claims has expired."""
    return datetime.fromtimestamp(claims["exp"], UTC) <= now


def allows_path(claims: dict[str, Any], path: str, height_pattern: str, host: str | None = None) -> bool:
    """Whether a token with these claims allows the path of a request (without its query).

    `host`: the requested one, if the media server sends it; else the path must be opened on every host of the token.
    `height_pattern` finds the picture height in a path. No token allows an ambiguous path, see `canonical_path`.
    """
    plain = canonical_path(path)
    hosts = claims["hosts"] or [""] if host is None else [_host_name(host)]
    if plain is None or not all(matches_any(plain, paths_on_host(claims["paths"], each)) for each in hosts):
        return False
    return allows_height(claims, None, plain, height_pattern)


def allows_height(claims: dict[str, Any], height: int | None, path: str, height_pattern: str) -> bool:
    """Whether a token allows a variant's picture height, as declared and as named in its path; None is not declared."""
    if matches_any(path.lower(), [denied.lower() for denied in claims["denied"]]):  # some file systems ignore case
        return False
    most: int | None = claims["max_height"]
    return most is None or max(height or 0, picture_height(path, height_pattern) or 0) <= most


def allows_host(claims: dict[str, Any], host: str) -> bool:
    """Whether a token with these claims allows the host of a request, which may have a port."""
    return _host_name(host) in claims["hosts"]


def _host_name(host: str) -> str:
    """Return a host, which may have a port, as in a token's claims."""
    return _PORT.sub("", host.lower()).strip("[]")


def bind_network(address: str | None, prefixes: str) -> str | None:
    """Return the network of the client's address; None for "". `prefixes` are lengths for IPv4 and IPv6: `24/56`."""
    if not prefixes or address is None:
        return None
    for_ipv4, for_ipv6 = prefixes.split("/")
    length = for_ipv4 if ip_address(address).version == 4 else for_ipv6
    return str(ip_network(f"{address}/{length}", strict=False))


def allows_address(claims: dict[str, Any], address: str | None) -> bool:
    """Whether a token with these claims may be used from the client's address."""
    if claims["network"] is None:
        return True
    try:
        return ip_address(address or "") in ip_network(claims["network"])
    except ValueError:
        return False
