"""Cookie mode: for browsers, the token goes into a cookie that no script can read."""

import re
from functools import wraps

import msgspec
from flask import Response, make_response, request

from streamsvc.login import COOKIE, viewer
from streamsvc.operations.bindings import new_binding
from streamsvc.web import json_response

BINDING_COOKIE = "__Host-ssb"
BINDING = re.compile(r"[A-Za-z0-9_-]{43}")


def token_as_cookie_if_asked(view):
    """Move `token` out of a sign-in's answer into the cookie where the body said `"cookie": true`.

    Stands above `@idempotent`, so that a repeated request has its cookie set again.
    """

    @wraps(view)
    def answering(*args, **kwargs):
        response = make_response(view(*args, **kwargs))
        asked = request.get_json(silent=True) or {}
        if response.status_code == 201 and asked.get("cookie") is True:
            document = msgspec.json.decode(response.get_data())
            set_cookie(response, document.pop("token"), asked.get("remember", True))
            response.set_data(msgspec.json.encode(document))
        return response

    return answering


def set_cookie(response: Response, token: str, remember: bool) -> None:
    """Host-only, for secure connections, unreadable to scripts; the session's own lifetime counts, not the cookie's.

    One that is not to be remembered is forgotten with the browser's window.
    """
    max_age = 400 * 86_400 if remember else None
    response.set_cookie(COOKIE, token, max_age=max_age, path="/", secure=True, httponly=True, samesite="Lax")


def with_token(token: str | None, document: dict | None = None) -> Response:
    """The answer to who gave a new proof, with the session's new token: in its cookie where it came by cookie."""
    by_cookie = viewer().csrf_token is not None
    told = {"token": token} if token and not by_cookie else {}
    told = (document or {}) | told
    response = json_response(msgspec.json.encode(told)) if told else Response(status=204)
    if token and by_cookie:
        set_cookie(response, token, remember=viewer().row.lifetime != "visit")
    return response


def drop_cookie(response: Response) -> None:
    if COOKIE in request.cookies:
        response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="Lax")
        response.headers["Clear-Site-Data"] = '"cookies", "storage"'


def binding_for(by_cookie: bool) -> str:
    """What the second half of a sign-in must show. A browser keeps the one it has, so that it may have two tabs."""
    kept = request.cookies.get(BINDING_COOKIE, "") if by_cookie else ""
    return kept if BINDING.fullmatch(kept) else new_binding()


def bound(document: dict, binding: str, by_cookie: bool, status: int = 200) -> Response:
    """The answer to a first half: the binding stands in it, or in a cookie that no script can read."""
    answer = json_response(msgspec.json.encode(document if by_cookie else document | {"binding": binding}), status)
    if by_cookie:
        kept = {"max_age": 86_400, "path": "/", "secure": True, "httponly": True, "samesite": "Strict"}
        answer.set_cookie(BINDING_COOKIE, binding, **kept)
    return answer


def binding_of(given: dict) -> str:
    """What this browser or app shows of the beginning: in the body, or by its cookie."""
    return given.get("binding") or request.cookies.get(BINDING_COOKIE, "")
