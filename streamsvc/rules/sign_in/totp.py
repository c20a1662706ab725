"""Time-based one-time passwords (RFC 6238): six digits, 30 seconds, SHA-1, which every authenticator app supports."""

import base64
import hmac
import secrets
from datetime import datetime
from urllib.parse import quote, urlencode

STEP_S = 30
DIGITS = 6
DRIFT_STEPS = 1
MAX_STEPS_AHEAD = 3600 // STEP_S + 2 * DRIFT_STEPS
"""A last used step further ahead than this is from a clock that was wrong: it locks nobody out once it has returned."""
SECRET_BYTES = 20
RECOVERY_CODE_COUNT = 10


def generate_totp_secret() -> str:
    """160 random bits in base32, the form that authenticator apps accept."""
    return encode_totp_secret(secrets.token_bytes(SECRET_BYTES))


def encode_totp_secret(random_bytes: bytes) -> str:
    """Return the first 160 bits in base32."""
    return base64.b32encode(random_bytes[:SECRET_BYTES]).decode()


def totp_uri(secret: str, email: str, issuer: str = "streamsvc") -> str:
    """Return the otpauth://totp/… URI to show as a QR code."""
    label = quote(f"{issuer}:{email}")
    return f"otpauth://totp/{label}?{urlencode({'secret': secret, 'issuer': issuer})}"


def totp_code(secret: str, step: int) -> str:
    """Return the code of one time step (RFC 4226, 5.3)."""
    digest = hmac.digest(base64.b32decode(secret), step.to_bytes(8), "sha1")
    offset = digest[-1] & 15
    number = int.from_bytes(digest[offset : offset + 4]) & 0x7FFFFFFF
    return f"{number % 10**DIGITS:0{DIGITS}}"


def find_matching_step(secret: str, code: str, now: datetime) -> int | None:
    """Find the time step of the code, at most one step away from the current one; None if there is none."""
    current = int(now.timestamp()) // STEP_S
    steps = range(current - DRIFT_STEPS, current + DRIFT_STEPS + 1)
    matching = [step for step in steps if hmac.compare_digest(totp_code(secret, step), code)]
    return matching[-1] if matching else None


def generate_recovery_codes() -> list[str]:
    """Ten codes of 120 random bits each, for which an unsalted hash is safe, in groups that are easy to read."""
    texts = (base64.b32encode(secrets.token_bytes(15)).decode().lower() for _ in range(RECOVERY_CODE_COUNT))
    return ["-".join(text[i : i + 4] for i in range(0, len(text), 4)) for text in texts]


def recovery_code_key(account_id: str, code: str) -> str:
    """Return the text to hash for a recovery code, independent of case, spaces and hyphens as typed."""
    return f"{account_id}:{code.replace('-', '').replace(' ', '').lower()}"
