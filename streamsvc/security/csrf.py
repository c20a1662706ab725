"""What a session's cookie needs to count for a change: a token, and a page that may send it."""

import hmac

from flask import request

from streamsvc.rules.origins import is_cross_site
from streamsvc.rules.refusals.accounts import CsrfTokenInvalid
from streamsvc.rules.sign_in.passkeys import relying_party_and_origin
from streamsvc.settings import current_settings

CSRF_HEADER = "X-CSRF-Token"


def compute_csrf_token(session_id: str, key: str | None = None) -> str:
    """Compute the CSRF token of a session: only pages of our own and of allowed origins can read it and send it along.

    It is bound to the session by the service's secret, and stays the same when the session gets a new token.
    """
    key = key or current_settings().secret_key[0]
    return hmac.digest(key.encode(), f"csrf {session_id}".encode(), "sha256").hex()


def csrf_failure(session_id: str) -> tuple[str, CsrfTokenInvalid] | None:
    """Return why the session's cookie does not count for a change, with the error for it; None if it does."""
    settings = current_settings()
    if is_from_another_site(settings.cors_origins):
        refusal = CsrfTokenInvalid(detail="This cookie cannot be used for changes requested by another site.")
        return "cross-site request with the cookie", refusal
    sent = request.headers.get(CSRF_HEADER, "").encode()
    valid_tokens = (compute_csrf_token(session_id, key) for key in settings.secret_key)
    if not any(hmac.compare_digest(sent, token.encode()) for token in valid_tokens):
        return "missing or invalid CSRF token", CsrfTokenInvalid()
    return None


def is_from_another_site(allowed_origins: tuple[str, ...]) -> bool:
    """Whether a page that is neither our own nor of an allowed origin made the request."""
    own_hosts = {
        request.host.lower(),
        relying_party_and_origin(current_settings().public_url)[1].partition("://")[2],
    }
    headers = request.headers
    return is_cross_site(headers.get("Sec-Fetch-Site"), headers.get("Origin"), own_hosts, allowed_origins)
