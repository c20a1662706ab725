"""Tokens that a web server of one's own verifies: nginx with its secure_link module, or an HMAC for anything else.

The token of a folder is a path segment after it: `/films/a/~TOKEN,EXPIRES/master.m3u8`, so that the relative URLs in
playlists keep it. Source: nginx.org, "Module ngx_http_secure_link_module".
"""

import hashlib
import hmac
from urllib.parse import unquote

from streamsvc.rules.playback.signers.base import (
    MediaAccess,
    Signer,
    add_query,
    base64url,
    insert_in_path,
    split_signed_path,
)


class _PathToken(Signer, frozen=True, kw_only=True):
    secret: str

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.secret) < 16 or " " in self.secret:
            raise ValueError("secret must be 16 characters or more, without spaces")

    def sign_path(self, path: str, expires: int) -> str:
        """Return the signature of a folder or a file, percent-decoded, until a Unix time."""
        raise NotImplementedError

    def sign_url(self, url: str, access: MediaAccess) -> str:
        signed = split_signed_path(url, access)
        signature = self.sign_path(unquote(signed.folder), access.expires)
        if signed.rest:
            return insert_in_path(url, signed, f"~{signature},{access.expires}")
        return add_query(url, f"token={signature}&expires={access.expires}")


class SecureLink(_PathToken, tag="secure_link", frozen=True, kw_only=True):
    """nginx's `secure_link_md5 "$expires$path SECRET"`: a keyed MD5, which is all that the module offers."""

    def sign_path(self, path: str, expires: int) -> str:
        return hash_secure_link(path, expires, self.secret)


def hash_secure_link(path: str, expires: int, secret: str) -> str:
    """Return what nginx compares `secure_link` with."""
    return base64url(hashlib.md5(f"{expires}{path} {secret}".encode(), usedforsecurity=False).digest())


class HmacToken(_PathToken, tag="hmac", frozen=True, kw_only=True):
    """HMAC-SHA-256 of `expires`, a line feed and the path, for edge functions and njs."""

    def sign_path(self, path: str, expires: int) -> str:
        return base64url(hmac.digest(self.secret.encode(), f"{expires}\n{path}".encode(), "sha256"))
