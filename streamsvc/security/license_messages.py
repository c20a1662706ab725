"""Messages for DRM licence servers: JSON Web Tokens with HMAC-SHA-256 under the provider's communication key."""

import base64
import hmac
from typing import Any

import msgspec

HEADER = msgspec.json.encode({"alg": "HS256", "typ": "JWT"})


def encode_license_message(message: dict[str, Any], com_key: str) -> str:
    """Encode and sign a message; the key is in base64."""
    body = b".".join(map(_base64url, (HEADER, msgspec.json.encode(message))))
    return b".".join((body, _base64url(hmac.digest(base64.b64decode(com_key), body, "sha256")))).decode()


def _base64url(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")
