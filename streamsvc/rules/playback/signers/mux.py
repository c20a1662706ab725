"""Mux: JSON Web Tokens for playback ids with the policy `signed`. Mux adds them to the URLs in its playlists itself.

Source: docs.mux.com, "Secure video playback".
"""

from urllib.parse import urlsplit

import msgspec
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from streamsvc.rules.playback.signers.base import MediaAccess, Signer, add_query, base64url, load_rsa_key

VIDEO = "v"


class Mux(Signer, tag="mux", frozen=True, kw_only=True):
    """Tokens of a signing key, for `https://stream.mux.com/{playback id}.m3u8`."""

    host: str = "stream.mux.com"
    key_id: str
    private_key: str

    def __post_init__(self) -> None:
        super().__post_init__()
        load_rsa_key(self.private_key)

    def sign_url(self, url: str, access: MediaAccess) -> str:
        playback_id = urlsplit(url).path.split("/")[1].partition(".")[0]
        if not playback_id:
            raise ValueError("A Mux URL must begin with a playback id.")
        header = {"alg": "RS256", "typ": "JWT", "kid": self.key_id}
        claims = {"sub": playback_id, "aud": VIDEO, "exp": access.expires, "kid": self.key_id}
        body = ".".join(base64url(msgspec.json.encode(part)) for part in (header, claims))
        signature = load_rsa_key(self.private_key).sign(body.encode(), PKCS1v15(), SHA256())
        return add_query(url, f"token={body}.{base64url(signature)}")
