"""Time-based one-time passwords (RFC 6238): six digits, thirty seconds, SHA-1 as every authenticator app has it."""

import base64
import hmac
import secrets
from datetime import datetime
from urllib.parse import quote, urlencode

STEP_S = 30
DIGITS = 6
DRIFT_STEPS = 1
SECRET_BYTES = 20
RECOVERY_CODE_COUNT = 10


def generate_totp_secret() -> str:
    """160 bits of chance, as authenticator apps take them."""
    return encode_totp_secret(secrets.token_bytes(SECRET_BYTES))


def encode_totp_secret(random_bytes: bytes) -> str:
    """160 bits of these in base32."""
    return base64.b32encode(random_bytes[:SECRET_BYTES]).decode()


def totp_uri(secret: str, email: str, issuer: str = "streamsvc") -> str:
    """What a QR code holds: otpauth://totp/…"""
    label = quote(f"{issuer}:{email}")
    return f"otpauth://totp/{label}?{urlencode({'secret': secret, 'issuer': issuer})}"


def totp_code(secret: str, step: int) -> str:
    """The code of one step (RFC 4226, 5.3)."""
    digest = hmac.digest(base64.b32decode(secret), step.to_bytes(8), "sha1")
    offset = digest[-1] & 15
    number = int.from_bytes(digest[offset : offset + 4]) & 0x7FFFFFFF
    return f"{number % 10**DIGITS:0{DIGITS}}"


def find_matching_step(secret: str, code: str, now: datetime) -> int | None:
    """The step, at most one away from now's, whose code this is; None where there is none."""
    current = int(now.timestamp()) // STEP_S
    steps = range(current - DRIFT_STEPS, current + DRIFT_STEPS + 1)
    fitting = [step for step in steps if hmac.compare_digest(totp_code(secret, step), code)]
    return fitting[-1] if fitting else None


def generate_recovery_codes() -> list[str]:
    """Ten codes of 120 bits each, so that a plain hash keeps them safe, in groups that can be read from paper."""
    texts = (base64.b32encode(secrets.token_bytes(15)).decode().lower() for _ in range(RECOVERY_CODE_COUNT))
    return ["-".join(text[i : i + 4] for i in range(0, len(text), 4)) for text in texts]


def recovery_code_key(account_id: str, code: str) -> str:
    """What is fingerprinted of a recovery code, however it was typed."""
    return f"{account_id}:{code.replace('-', '').replace(' ', '').lower()}"
