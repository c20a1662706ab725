"""Playback tokens: JSON Web Tokens with HMAC-SHA-256. The first key signs, every key verifies.

The header is fixed and compared as text, so that a token cannot choose its own algorithm. Media servers that verify
tokens themselves get `media_keys`, which are derived keys: they cannot be used to sign cursors or anything else.
"""

import base64
import hashlib
import hmac
from functools import cache

import msgspec

from streamsvc.rules.playback.tokens import PlaybackToken

PURPOSE = b"streamsvc playback grant"


@cache
def media_keys(secret_keys: tuple[str, ...]) -> list[bytes]:
    """Return the keys that sign playback tokens, 32 bytes each, in the order of the secret keys."""
    return [hmac.digest(key.encode(), PURPOSE, "sha256") for key in secret_keys]


def encode_token(playback_token: PlaybackToken, keys: list[bytes]) -> str:
    """Encode and sign a playback token."""
    body = b".".join((_encode_header(keys[0]), _base64url(msgspec.json.encode(playback_token.claims()))))
    return b".".join((body, _sign(keys[0], body))).decode()


def decode_claims(token: str, keys: list[bytes]) -> dict | None:
    """Decode the claims of a token signed by one of the keys, else None. Expiry is not checked."""
    body, _, signature = token.encode("ascii", "replace").rpartition(b".")
    header, _, payload = body.partition(b".")
    for key in keys:
        if header == _encode_header(key) and hmac.compare_digest(signature, _sign(key, body)):
            return msgspec.json.decode(base64.urlsafe_b64decode(payload + b"=="))
    return None


def key_id(key: bytes) -> str:
    """Return the id of a key, in the `kid` header of its tokens."""
    return hashlib.sha256(key).hexdigest()[:8]


@cache
def _encode_header(key: bytes) -> bytes:
    return _base64url(msgspec.json.encode({"alg": "HS256", "kid": key_id(key), "typ": "JWT"}))


def _sign(key: bytes, body: bytes) -> bytes:
    return _base64url(hmac.digest(key, body, "sha256"))


def _base64url(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")
