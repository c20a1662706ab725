"""The key that names of rate-limit counters are derived with: random, created once, and independent of the secret key.

It is stored encrypted with each secret key in use (see RateLimitKey), so rotating the secret key loses no counter, and
the database alone does not reveal whose counters they are.
"""

import hmac
import logging
import secrets

import sqlalchemy as sa
from cryptography.fernet import InvalidToken
from flask import current_app

from streamsvc import clock
from streamsvc.models import RateLimitKey
from streamsvc.security import encryption
from streamsvc.settings import current_settings
from streamsvc.storage.database import fetch_all, insert, write_transaction

log = logging.getLogger("streamsvc.security")
_EXTENSION = "counter_key"
KEY_BYTES = 32


def find_counter_key() -> bytes | None:
    """Return the key of the counters; None if nothing was counted yet. Only reads."""
    return _find_stored_key()[0]


def is_counter_key_stored() -> bool:
    """Whether the key is stored for every secret key in use."""
    key, is_complete = _find_stored_key()
    return key is not None and is_complete


def is_secret_key_foreign() -> bool:
    """Whether the database was used with secret keys, and none of them is in the settings."""
    known = {secret_id for (secret_id,) in fetch_all(sa.select(RateLimitKey.secret_id))}
    return bool(known) and known.isdisjoint(map(_secret_id, current_settings().secret_key))


def load_counter_key() -> bytes | None:
    """Return the key as `find_counter_key` does, and store it for secret keys that are new in the settings.

    Must not be used in a `db.session` transaction, which on SQLite would wait for itself.
    """
    key, is_complete = _find_stored_key()
    if key and not is_complete:
        with write_transaction() as connection:
            return get_or_create_counter_key(connection)
    return key


def get_or_create_counter_key(connection: sa.Connection) -> bytes:
    """Return the key of the counters, stored for every secret key in use, in the caller's transaction if need be."""
    key, is_complete = _find_stored_key()
    if key and is_complete:
        return key
    key = key or secrets.token_bytes(KEY_BYTES)
    secret_keys, now = current_settings().secret_key, clock.now()
    for secret_key in secret_keys:
        row = {
            "secret_id": _secret_id(secret_key),
            "key_encrypted": encryption.encrypt(key.hex(), secret_key),
            "created_at": now,
        }
        connection.execute(insert(RateLimitKey).values(row).on_conflict_do_nothing(index_elements=["secret_id"]))
    is_newest = RateLimitKey.secret_id == _secret_id(secret_keys[0])  # another process may have been the first
    stored = connection.execute(sa.select(RateLimitKey.key_encrypted).where(is_newest)).scalar_one()
    return _decrypt(stored) or key


def _find_stored_key() -> tuple[bytes | None, bool]:
    """Return the committed key, and whether it is stored for every secret key in use; remembered once it is."""
    secret_keys = current_settings().secret_key
    known_secret_keys, key = current_app.extensions.get(_EXTENSION, (None, None))
    if known_secret_keys == secret_keys:
        return key, True
    ids = [_secret_id(secret_key) for secret_key in secret_keys]
    rows = fetch_all(
        sa.select(RateLimitKey.secret_id, RateLimitKey.key_encrypted).where(RateLimitKey.secret_id.in_(ids))
    )
    keys = {row.secret_id: _decrypt(row.key_encrypted) for row in rows}
    key = next((keys[secret_id] for secret_id in ids if keys.get(secret_id)), None)
    is_complete = len(keys) == len(set(ids))
    if key and is_complete:
        current_app.extensions[_EXTENSION] = secret_keys, key
    return key, is_complete


def _secret_id(secret_key: str) -> str:
    return hmac.digest(secret_key.encode(), b"rate limit key", "sha256").hex()[:32]


def _decrypt(encrypted: str) -> bytes | None:
    try:
        return bytes.fromhex(encryption.decrypt(encrypted))
    except InvalidToken:
        log.error("the key of the rate-limit counters cannot be decrypted; their counts are lost")
        return None
