"""Cookie mode: for browsers, the token goes into a cookie that no script can read."""

from functools import wraps

import msgspec
from flask import Response, make_response, request

from streamsvc.login import COOKIE


def token_as_cookie_if_asked(view):
    """Move `token` out of a sign-in's answer into the cookie where the body said `"cookie": true`.

    Stands above `@idempotent`, so that a repeated request has its cookie set again.
    """

    @wraps(view)
    def answering(*args, **kwargs):
        response = make_response(view(*args, **kwargs))
        if response.status_code == 201 and (request.get_json(silent=True) or {}).get("cookie") is True:
            document = msgspec.json.decode(response.get_data())
            set_cookie(response, document.pop("token"))
            response.set_data(msgspec.json.encode(document))
        return response

    return answering


def set_cookie(response: Response, token: str) -> None:
    """Host-only, for secure connections, unreadable to scripts; the session's own lifetime counts, not the cookie's."""
    response.set_cookie(COOKIE, token, max_age=400 * 86_400, path="/", secure=True, httponly=True, samesite="Lax")


def drop_cookie(response: Response) -> None:
    if COOKIE in request.cookies:
        response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="Lax")
        response.headers["Clear-Site-Data"] = '"cookies", "storage"'
