"""Encryption at rest for secrets that must be read back: the newest secret key encrypts, every key decrypts."""

import base64
import hashlib

from cryptography.fernet import Fernet, MultiFernet

from streamsvc.settings import current_settings


def encrypt(secret: str, key: str | None = None) -> str:
    """Encrypt with Fernet (AES-128-CBC and HMAC-SHA-256), with the newest secret key unless `key` names another one."""
    cipher = _fernet(key) if key else _cipher()
    return cipher.encrypt(secret.encode()).decode()


def decrypt(encrypted: str) -> str:
    """Decrypt text from `encrypt`. Raises cryptography.fernet.InvalidToken if no key matches."""
    return _cipher().decrypt(encrypted.encode()).decode()


def _cipher() -> MultiFernet:
    return MultiFernet([_fernet(key) for key in current_settings().secret_key])


def _fernet(key: str) -> Fernet:
    return Fernet(base64.urlsafe_b64encode(hashlib.sha256(f"seal {key}".encode()).digest()))
