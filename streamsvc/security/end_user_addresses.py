"""Trusted end-user addresses: a front end's server vouches for the address of its user.

    X-End-User-Address: 203.0.113.9; key=key_…; t=1767225600; sig=<hex>

`sig` is HMAC-SHA-256 over method, path, `t` and address, one per line, with a secret that the front end derives from
its own API key. An invalid header is rejected, not ignored: otherwise a front end with a wrong clock would count as a
single viewer who tries a thousand passwords.
"""

import hmac
import ipaddress
import re

import sqlalchemy as sa
from cryptography.fernet import InvalidToken
from flask import Flask, request

from streamsvc import clock
from streamsvc.models import ApiKey
from streamsvc.rules.refusals.access import EndUserAddressInvalid
from streamsvc.rules.roles import api_key_role
from streamsvc.security import encryption
from streamsvc.storage.database import fetch_one

HEADER = "X-End-User-Address"
HEADER_PATTERN = re.compile(
    r"([0-9A-Fa-f.:]{2,45}); key=(key_[a-z0-9]{1,64}); t=(\d{1,12}); sig=([0-9a-f]{64})", re.ASCII
)
TOLERANCE_S = 60
"""How far the two clocks may differ, including the transmission time."""
PURPOSE = b"streamsvc end-user address"


def derive_signing_secret(token: str) -> str:
    """Derive the signing secret of the API key `token`: HMAC-SHA-256 of a fixed text under the token, in hex."""
    return hmac.digest(token.encode(), PURPOSE, "sha256").hex()


def compute_signature(secret: str, method: str, path: str, at_s: int, address: str) -> str:
    """Sign the address for one request at `at_s` (seconds since 1970); hex."""
    return hmac.digest(secret.encode(), f"{method}\n{path}\n{at_s}\n{address}".encode(), "sha256").hex()


def _apply_end_user_address() -> None:
    """Replace the request's address by the vouched one, before any view runs. Raises EndUserAddressInvalid."""
    if HEADER in request.headers:
        request.remote_addr = _verify_header(request.headers[HEADER])


def _verify_header(header: str) -> str:
    match = HEADER_PATTERN.fullmatch(header)
    if match is None:
        raise EndUserAddressInvalid
    address, key_id, at_s, sent_signature = match[1], match[2], int(match[3]), match[4]
    secret = _find_signing_secret(key_id)
    if secret is None or abs(clock.wall_time().timestamp() - at_s) > TOLERANCE_S:
        raise EndUserAddressInvalid
    if not hmac.compare_digest(compute_signature(secret, request.method, request.path, at_s, address), sent_signature):
        raise EndUserAddressInvalid
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        raise EndUserAddressInvalid from None


def _find_signing_secret(key_id: str) -> str | None:
    """Find the signing secret of the live key with this id; None if the key may not vouch for addresses."""
    key = fetch_one(
        sa.select(ApiKey.signing_key_encrypted, ApiKey.scopes, ApiKey.expires_at).where(
            ApiKey.id == key_id, ApiKey.revoked_at.is_(None), ApiKey.signing_key_encrypted.is_not(None)
        )
    )
    if key is None or (key.expires_at and key.expires_at <= clock.now()):
        return None
    if not api_key_role(key.scopes).has_scope("frontend", write=True):
        return None
    try:
        return encryption.decrypt(key.signing_key_encrypted)
    except InvalidToken:
        return None


def init_app(app: Flask) -> None:
    app.before_request(_apply_end_user_address)
