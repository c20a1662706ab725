"""Validation of ID tokens (OpenID Connect Core 1.0, 3.1.3.7), and PKCE (RFC 7636)."""

import base64
import hashlib
from datetime import datetime
from typing import Any, TypeGuard

ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
"""Asymmetric signatures only, which no one but the provider can make: never `none`, never a shared secret."""
LEEWAY_S = 60
MAX_SUBJECT_LENGTH = 255


def code_challenge(verifier: str) -> str:
    """Return the PKCE code challenge (S256) of a verifier."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


def find_invalid_claim(claims: dict[str, Any], issuer: str, client_id: str, nonce: str, now: datetime) -> str | None:
    """Find the name of the first claim that is invalid; None if the claims prove the sign-in at the provider."""
    audience = claims.get("aud")
    audience = [audience] if isinstance(audience, str) else audience
    subject, expires, issued = claims.get("sub"), claims.get("exp"), claims.get("iat")
    now_s = now.timestamp()
    checks = {
        "iss": claims.get("iss") == issuer,
        "aud": isinstance(audience, list) and client_id in audience,
        "azp": claims.get("azp", client_id) == client_id and (audience == [client_id] or "azp" in claims),
        "exp": _is_number(expires) and now_s < expires + LEEWAY_S,
        "iat": _is_number(issued) and issued < now_s + LEEWAY_S,
        "nonce": claims.get("nonce") == nonce,
        "sub": isinstance(subject, str) and 0 < len(subject) <= MAX_SUBJECT_LENGTH and subject.isprintable(),
    }
    return next((name for name, is_valid in checks.items() if not is_valid), None)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
