"""Cookies for media servers, so that players that cannot send headers are admitted: Safari, Roku, Cast.

They hold what the response's grant has, and end with it. STREAMSVC_GRANT_COOKIE_DOMAIN turns them on.
"""

from collections.abc import Mapping
from datetime import datetime
from functools import wraps
from typing import Any

import msgspec
from flask import Response, make_response, request

from streamsvc import clock
from streamsvc.rules.playback.grant_cookies import is_in_domain, same_site_policy
from streamsvc.security import playback_tokens
from streamsvc.security.access import View
from streamsvc.settings import current_settings

GRANT_COOKIE = "playback_grant"


def sets_grant_cookies(view: View) -> View:
    """Set the cookies of the grant in a response, and clear them if the stream has ended.

    Place it above `@idempotent`, so that a replayed response sets the cookies again.
    """

    @wraps(view)
    def wrapper(*args: Any, **kwargs: Any) -> Response:
        response = make_response(view(*args, **kwargs))
        if current_settings().grant_cookie_domain and response.status_code < 300:
            document = msgspec.json.decode(response.get_data() or b"null")
            if grant := document and document.get("grant"):
                _set_cookies(response, grant)
            else:
                _clear_cookies(response, kwargs["stream_id"])
        return response

    return wrapper


def _set_cookies(response: Response, grant: Mapping[str, Any]) -> None:
    domain = current_settings().grant_cookie_domain
    own = {"name": GRANT_COOKIE, "value": grant["token"], "path": "/", "expires_at": grant["expires_at"]}
    for cookie in [own | {"domain": domain}, *grant.get("cookies", ())]:
        if is_in_domain(cookie["domain"], domain):
            left = datetime.fromisoformat(cookie["expires_at"]) - clock.now()
            _set_cookie(response, cookie, max(0, int(left.total_seconds())))


def _clear_cookies(response: Response, stream_id: str) -> None:
    """Delete the cookie of an ended stream, but not that of another stream of the same browser."""
    settings = current_settings()
    keys = playback_tokens.media_keys(settings.secret_key)
    claims = playback_tokens.decode_claims(request.cookies.get(GRANT_COOKIE, ""), keys)
    if claims and claims["sub"] == stream_id:
        _set_cookie(response, {"name": GRANT_COOKIE, "value": "", "path": "/"}, 0)


def _set_cookie(response: Response, cookie: Mapping[str, str], max_age_s: int) -> None:
    settings = current_settings()
    domain = settings.grant_cookie_domain
    response.set_cookie(
        cookie["name"],
        cookie["value"],
        max_age=max_age_s,
        path=cookie["path"],
        domain=domain,
        secure=True,
        httponly=True,
        samesite=same_site_policy(domain, settings.cors_origins),
    )
