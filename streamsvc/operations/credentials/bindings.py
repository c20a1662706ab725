"""What ties the two halves of a sign-in together: only the browser or app that began it holds the secret to finish it.

Without it, somebody could send a victim the end of their own sign-in, or finish one that they saw begin.
"""

import hmac
import secrets

from streamsvc.rules.sign_in.sessions import hash_token


def new_binding() -> str:
    """256 bits of chance."""
    return secrets.token_urlsafe(32)


def is_bound(binding_hash: str | None, binding: str) -> bool:
    """Whether `binding` is what was handed out at the beginning, of which `kept_hash` was kept."""
    return binding_hash is not None and hmac.compare_digest(binding_hash, hash_token(binding))
