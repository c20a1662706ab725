"""Whose address counts where a front end's server calls for its viewers: the one that it vouches for.

    X-End-User-Address: 203.0.113.9; key=key_…; t=1767225600; sig=<hex>

`sig` is HMAC-SHA-256 over method, path, `t` and address, a line each, under a secret that the front end derives from
its own API key. A header that does not hold is refused, not overlooked: a front end whose clock is wrong would
otherwise count as one viewer who tries a thousand passwords.
"""

import hmac
import ipaddress
import re

import sqlalchemy as sa
from cryptography.fernet import InvalidToken
from flask import request

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
"""How far the two clocks may stand apart, with the way between."""
PURPOSE = b"streamsvc end-user address"


def derive_signing_secret(token: str) -> str:
    """What the holder of the API key `token` signs with: HMAC-SHA-256 of a fixed text under the token, in hex."""
    return hmac.digest(token.encode(), PURPOSE, "sha256").hex()


def compute_signature(secret: str, method: str, path: str, at_s: int, address: str) -> str:
    return hmac.digest(secret.encode(), f"{method}\n{path}\n{at_s}\n{address}".encode(), "sha256").hex()


def _apply_end_user_address():
    """Before any view looks: the vouched address stands in the place of the peer's. Raises EndUserAddressInvalid."""
    if HEADER in request.headers:
        request.remote_addr = _verify_header(request.headers[HEADER])


def _verify_header(header: str) -> str:
    told = HEADER_PATTERN.fullmatch(header)
    if told is None:
        raise EndUserAddressInvalid
    address, key_id, at_s, sent = told[1], told[2], int(told[3]), told[4]
    secret = _find_signing_secret(key_id)
    if secret is None or abs(clock.wall_time().timestamp() - at_s) > TOLERANCE_S:
        raise EndUserAddressInvalid
    if not hmac.compare_digest(compute_signature(secret, request.method, request.path, at_s, address), sent):
        raise EndUserAddressInvalid
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        raise EndUserAddressInvalid from None


def _find_signing_secret(key_id: str) -> str | None:
    """What the live key of this id signs with; None for one that may not vouch."""
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


def init_app(app) -> None:
    app.before_request(_apply_end_user_address)
