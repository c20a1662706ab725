"""Akamai: EdgeAuth tokens (Auth Token 2.0, Segmented Media Protection) in the query or in a cookie.

Source: github.com/akamai/EdgeAuth-Token-Python, whose tokens with an access control list (`acl`) these are.
"""

import hmac
from collections.abc import Sequence
from typing import Literal

from streamsvc.rules.playback.signers.base import MediaAccess, MediaCookie, Signer, add_query, split_signed_path

CLOCK_SKEW_S = 60
"""How much earlier than now a token begins."""
RESERVED = frozenset("~!?")
"""Characters that separate fields and paths or are wildcards: a path with one of them is not opened."""


class Akamai(Signer, tag="akamai", frozen=True, kw_only=True):
    """Tokens for a property. `key` is the encryption key: hexadecimal digits of an even number."""

    key: str
    salt: str = ""
    token_name: str = "hdnts"
    use: Literal["cookies", "urls"] = "urls"

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            is_key = len(bytes.fromhex(self.key)) >= 8
        except ValueError:
            is_key = False
        if not is_key:
            raise ValueError("key must be 16 or more hexadecimal digits, of an even number")

    def sign_url(self, url: str, access: MediaAccess) -> str:
        return add_query(url, f"{self.token_name}={self._token(access)}") if self.use == "urls" else url

    def sign_cookies(self, url: str, access: MediaAccess) -> Sequence[MediaCookie]:
        if self.use != "cookies":
            return ()
        path = split_signed_path(url, access).folder
        return [MediaCookie(self.token_name, self._token(access), path, access.expires_at)]

    def _token(self, access: MediaAccess) -> str:
        opened = [path for path in access.paths if not RESERVED & set(path)]
        if not opened:
            raise ValueError("The paths of the media contain characters that an Akamai token cannot have.")
        acl = "!".join(f"{path}*" if path.endswith("/") else path for path in opened)
        starts = int(access.now.timestamp()) - CLOCK_SKEW_S
        body = f"st={starts}~exp={access.expires}~acl={acl}"
        signed = f"{body}~salt={self.salt}" if self.salt else body
        return f"{body}~hmac={hmac.digest(bytes.fromhex(self.key), signed.encode(), 'sha256').hex()}"
