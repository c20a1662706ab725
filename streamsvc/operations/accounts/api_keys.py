"""API keys for operators and front ends. Several keys may be active at once, so that keys can be rotated."""

from datetime import datetime

from streamsvc import clock
from streamsvc.models import ApiKey
from streamsvc.operations.outbox import audit
from streamsvc.rules.sign_in.sessions import API_KEY_PREFIX, hash_token, new_token
from streamsvc.security import encryption
from streamsvc.security.end_user_addresses import derive_signing_secret
from streamsvc.storage.database import db


def create_api_key(name: str, scopes: list[str], expires_at: datetime | None = None) -> str:
    """Create an API key, commit, and return its token, which is not stored and cannot be shown again."""
    token = new_token(API_KEY_PREFIX)
    create_api_key_from_token(name, scopes, token, expires_at)
    db.session.commit()
    return token


def create_api_key_from_token(
    name: str, scopes: list[str], token: str, expires_at: datetime | None, actor: str | None = None
) -> ApiKey:
    """Create an API key with the hash of `token`, in the caller's transaction."""
    key = ApiKey(
        name=name,
        scopes=sorted(set(scopes)),
        token_hash=hash_token(token),
        signing_key_encrypted=encryption.encrypt(derive_signing_secret(token)),
        expires_at=expires_at,
        created_at=clock.now(),
    )
    db.session.add(key)
    db.session.flush()
    audit.record_event("api_key_created", actor=actor, key=key.id, scopes=key.scopes)
    return key
