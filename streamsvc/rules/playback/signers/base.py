"""What every signer has: its host, the lifetime of what it signs, and the parts of a URL that tokens are made of."""

import base64
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from streamsvc.rules.playback.media_paths import canonical_path, matches_any


class MediaAccess(NamedTuple):
    """What a stream may fetch from one host: `paths` as in `paths_on_host`, from `network` only if it is not None."""

    paths: tuple[str, ...]
    network: str | None
    now: datetime
    expires_at: datetime

    @property
    def expires(self) -> int:
        """The Unix time of the expiry, in whole seconds, rounded up."""
        return -int(-self.expires_at.timestamp() // 1)


class MediaCookie(NamedTuple):
    """A cookie for a CDN. `path` is the folder that it opens, percent-encoded."""

    name: str
    value: str
    path: str
    expires_at: datetime


class Signer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="signer"):
    """A signer for the media of one host; one that has no cookies signs the URL, and the other way round.

    `ttl_s` replaces the lifetime of the playback token.
    """

    host: str
    ttl_s: int | None = None

    def __post_init__(self) -> None:
        if self.host != self.host.lower().strip() or "/" in self.host or not self.host:
            raise ValueError("host must be a host name in lower case, without a scheme or a path")
        if self.ttl_s is not None and not 60 <= self.ttl_s <= 86_400:
            raise ValueError("ttl_s must be from 60 to 86400")

    def sign_url(self, url: str, access: MediaAccess) -> str:
        """Return the URL of a manifest with its token."""
        return url

    def sign_cookies(self, url: str, access: MediaAccess) -> Sequence[MediaCookie]:
        """Return the cookies that open the manifest and its files."""
        return ()

    def limit_access(self, access: MediaAccess) -> MediaAccess:
        """Return the access with the signer's own lifetime, if it has one."""
        if self.ttl_s is None:
            return access
        return access._replace(expires_at=access.now + timedelta(seconds=self.ttl_s))


class SignedPath(NamedTuple):
    """The path of a manifest, percent-encoded as in its URL: the folder to open, and what follows in it.

    `rest` is empty where no folder is opened: `folder` is then the file itself.
    """

    folder: str
    rest: str


def split_signed_path(url: str, access: MediaAccess) -> SignedPath:
    """Return the folder that the access opens around a manifest, or the manifest alone.

    A file is opened alone if its item has no folder of its own, since most tokens name one folder or one file.
    Raises ValueError for a manifest that the access does not open.
    """
    path = urlsplit(url).path
    plain = canonical_path(path)
    if plain is None or not matches_any(plain, access.paths):
        raise ValueError("The manifest is not one of the files that the stream may fetch.")
    for folder in access.paths:
        parts, depth = path.split("/"), folder.count("/")
        encoded = "/".join(parts[:depth]) + "/"
        if len(parts) > depth and unquote(encoded) == folder:
            return SignedPath(encoded, "/".join(parts[depth:]))
    return SignedPath(path, "")


def add_query(url: str, query: str) -> str:
    """Return a URL with more query parameters."""
    return f"{url}{'&' if '?' in url else '?'}{query}"


def insert_in_path(url: str, signed: SignedPath, segment: str) -> str:
    """Return a URL with one more path segment after its signed folder, so that relative URLs keep it."""
    parts = urlsplit(url)
    return parts._replace(path=f"{signed.folder}{segment}/{signed.rest}").geturl()


def base64url(raw: bytes) -> str:
    """Return base64 for URLs, without padding (RFC 4648, section 5)."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@lru_cache(maxsize=16)
def load_rsa_key(pem: str) -> RSAPrivateKey:
    """Return a private RSA key in PEM. Raises ValueError; the message does not repeat the key."""
    try:
        key = load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, RSAPrivateKey) or key.key_size < 1024:
        raise ValueError("private_key must be an RSA key in PEM, not encrypted")
    return key
