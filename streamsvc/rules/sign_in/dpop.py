"""DPoP proofs (RFC 9449): what one must say. Signatures are checked in security/dpop.py."""

import hmac
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

ALGORITHMS = ("ES256", "RS256", "EdDSA")
PRIVATE_MEMBERS = frozenset(("d", "p", "q", "dp", "dq", "qi", "oth", "k"))
MAX_PROOF_LENGTH, MAX_JTI_LENGTH = 8_192, 256
MIN_MODULUS_LENGTH, MAX_MODULUS_LENGTH = 342, 1_366
"""Of RSA keys of 2,048 and 8,192 bits, in base64url."""
MAX_IAT = 2**53 - 1
"""The largest integer that JSON conveys exactly (RFC 8259, 6)."""
IAT_TOLERANCE_S = 60
NONCE_PERIOD_S = 300
PROOF_RETENTION = timedelta(seconds=3 * NONCE_PERIOD_S)
"""How long a proof is remembered: longer than it can be accepted, by its time or by its nonce."""


class ProofInvalid(Exception):
    """The proof is not acceptable; the message says why."""


class NonceRequired(Exception):
    """The proof's time is not acceptable: it needs the server's nonce instead, or a newer one."""


def check_proof_header(header: Mapping[str, Any]) -> None:
    """Check a proof's JOSE header. Raises ProofInvalid."""
    if header.get("typ") != "dpop+jwt":
        raise ProofInvalid("typ must be dpop+jwt")
    if header.get("alg") not in ALGORITHMS:
        raise ProofInvalid("alg must be one of " + ", ".join(ALGORITHMS))
    if "crit" in header:
        raise ProofInvalid("crit names extensions that are not supported")
    if not isinstance(header.get("jwk"), dict) or header["jwk"].keys() & PRIVATE_MEMBERS:
        raise ProofInvalid("jwk must be a public key")
    jwk = header["jwk"]
    if header["alg"] == "EdDSA" and jwk.get("crv") != "Ed25519":
        raise ProofInvalid("EdDSA keys must be of Ed25519")
    if header["alg"] == "RS256" and not MIN_MODULUS_LENGTH <= len(str(jwk.get("n"))) <= MAX_MODULUS_LENGTH:
        raise ProofInvalid("RSA keys must have 2048 to 8192 bits")


def check_proof_claims(claims: Mapping[str, Any], method: str, url: str, token_hash: str | None) -> None:
    """Check what a proof is for. `token_hash` is the `ath` of the request's token. Raises ProofInvalid."""
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= MAX_JTI_LENGTH or not _is_encodable(jti):
        raise ProofInvalid(f"jti must be a text of at most {MAX_JTI_LENGTH} characters")
    if claims.get("htm") != method:
        raise ProofInvalid("htm must be the request's method")
    if not isinstance(claims.get("htu"), str) or normalize_url(claims["htu"]) != normalize_url(url):
        raise ProofInvalid("htu must be the request's URL, without query and fragment, below the service's public URL")
    iat = claims.get("iat")
    if not isinstance(iat, int) or isinstance(iat, bool) or abs(iat) > MAX_IAT:
        raise ProofInvalid("iat must be a time in seconds")
    if token_hash is not None and not _equals_ascii(claims.get("ath"), token_hash):
        raise ProofInvalid("ath must be the hash of the token")


def check_proof_time(claims: Mapping[str, Any], nonces: tuple[str, ...], now: datetime) -> None:
    """Check that a proof is fresh: by a nonce of the server, or by its time if it has none. Raises NonceRequired."""
    if "nonce" in claims:
        if claims["nonce"] not in nonces:
            raise NonceRequired
    elif abs(claims["iat"] - now.timestamp()) > IAT_TOLERANCE_S:
        raise NonceRequired


def nonce_periods(now: datetime) -> tuple[int, int]:
    """Return the numbers of the current and the previous period, whose nonces are accepted."""
    period = int(now.timestamp()) // NONCE_PERIOD_S
    return period, period - 1


def normalize_url(url: str) -> str | None:
    """Return a URL without query and fragment, in the form in which URLs are compared; None if it is none."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    default = {"https": 443, "http": 80}.get(parts.scheme)
    host = (parts.hostname or "") + ("" if port in (None, default) else f":{port}")
    return f"{parts.scheme}://{host}{parts.path or '/'}" if default and parts.hostname else None


def _is_encodable(text: str) -> bool:
    """Whether UTF-8 can encode a text: JSON can escape lone surrogates, which it cannot."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _equals_ascii(value: object, expected: str) -> bool:
    return isinstance(value, str) and value.isascii() and hmac.compare_digest(value, expected)
