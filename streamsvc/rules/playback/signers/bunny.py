"""bunny.net: advanced token authentication, for a folder (`token_path`) in the path, for a file in the query.

Source: docs.bunny.net, "Advanced token authentication", and github.com/BunnyWay/BunnyCDN.TokenAuthentication.
"""

import hmac
from urllib.parse import quote, unquote, urlsplit

from streamsvc.rules.playback.signers.base import MediaAccess, Signer, add_query, base64url, split_signed_path


class Bunny(Signer, tag="bunny", frozen=True, kw_only=True):
    """Tokens for a pull zone; `key` is its URL token authentication key."""

    key: str

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.key) < 8:
            raise ValueError("key must be the pull zone's token authentication key")

    def sign_url(self, url: str, access: MediaAccess) -> str:
        signed = split_signed_path(url, access)
        parts = urlsplit(url)
        if not signed.rest:
            if parts.query:
                raise ValueError("A URL with a query cannot be signed for bunny.net.")
            token = self.sign_message(f"{parts.path}{access.expires}")
            return add_query(url, f"token={token}&expires={access.expires}")
        folder = unquote(signed.folder)
        token = self.sign_message(f"{folder}{access.expires}token_path={folder}")
        prefix = f"/bcdn_token={token}&token_path={quote(folder, safe='')}&expires={access.expires}"
        return parts._replace(path=prefix + parts.path).geturl()

    def sign_message(self, message: str) -> str:
        """Return the token of a message: path, expiry and parameters."""
        return "HS256-" + base64url(hmac.digest(self.key.encode(), message.encode(), "sha256"))
