"""Fastly: a token of the expiry and an HMAC, for a folder in the path, for a file in the query.

Source: github.com/fastly/token-functions, whose VCL verifies tokens of files as they are, and those of folders with the
regular expression in docs/playback.md.
"""

import base64
import binascii
import hmac

from streamsvc.rules.playback.signers.base import MediaAccess, Signer, add_query, insert_in_path, split_signed_path


class Fastly(Signer, tag="fastly", frozen=True, kw_only=True):
    """Tokens for a service whose VCL verifies them; `key` is in base64, as in the VCL."""

    key: str

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            is_key = len(base64.b64decode(self.key, validate=True)) >= 16
        except binascii.Error:
            is_key = False
        if not is_key:
            raise ValueError("key must be 16 bytes or more in base64: `openssl rand -base64 32`")

    def sign_url(self, url: str, access: MediaAccess) -> str:
        signed = split_signed_path(url, access)
        message = f"{signed.folder}{access.expires}".encode()
        token = f"{access.expires}_{hmac.digest(base64.b64decode(self.key), message, 'sha1').hex()}"
        return insert_in_path(url, signed, f"~{token}") if signed.rest else add_query(url, f"token={token}")
