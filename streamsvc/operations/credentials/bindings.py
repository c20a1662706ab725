"""Bindings: secrets that tie the steps of a sign-in to the browser or app that started it.

Without one, an attacker could make a victim complete the attacker's own sign-in, or complete one that they saw started.
"""

import hmac
import secrets

from streamsvc.rules.sign_in.sessions import hash_token


def new_binding() -> str:
    """256 random bits, URL-safe base64."""
    return secrets.token_urlsafe(32)


def is_bound(binding_hash: str | None, binding: str) -> bool:
    """Whether `binding` is the one issued at the start, of which `binding_hash` was stored."""
    return binding_hash is not None and hmac.compare_digest(binding_hash, hash_token(binding))
