"""Secrets that must be read again, sealed with the service's secret key: the newest key seals, every key opens."""

import base64
import hashlib

from cryptography.fernet import Fernet, MultiFernet
from flask import current_app


def encrypt(secret: str) -> str:
    """Text that only who has a secret key can open (AES-128-CBC and HMAC-SHA-256, as Fernet says)."""
    return _cipher().encrypt(secret.encode()).decode()


def decrypt(encrypted: str) -> str:
    """The secret behind `sealed`. Raises cryptography.fernet.InvalidToken where no key opens it."""
    return _cipher().decrypt(encrypted.encode()).decode()


def _cipher() -> MultiFernet:
    keys = current_app.extensions["settings"].secret_key
    return MultiFernet([Fernet(base64.urlsafe_b64encode(hashlib.sha256(f"seal {k}".encode()).digest())) for k in keys])
