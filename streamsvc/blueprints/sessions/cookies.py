"""Cookie mode: for browsers, the token goes into a cookie that no script can read."""

import re
from functools import wraps

import msgspec
from flask import Response, make_response, request

from streamsvc.http.edge import json_response
from streamsvc.operations.credentials import trusted_devices
from streamsvc.operations.credentials.bindings import new_binding
from streamsvc.security.authentication import COOKIE, current_viewer

BINDING_COOKIE = "__Host-ssb"
TRUST_COOKIE = "__Host-ssd"
"""`<the device's id>.<what shows that it is trusted>`"""
STRICT_COOKIE = {"path": "/", "secure": True, "httponly": True, "samesite": "Strict"}
BINDING_PATTERN = re.compile(r"[A-Za-z0-9_-]{43}")


def token_in_cookie_on_request(view):
    """Move `token` out of a sign-in's answer into the cookie where the body said `"cookie": true`.

    Stands above `@idempotent`, so that a repeated request has its cookie set again.
    """

    @wraps(view)
    def answering(*args, **kwargs):
        response = make_response(view(*args, **kwargs))
        asked = request.get_json(silent=True) or {}
        if response.status_code == 201 and asked.get("cookie") is True:
            document = msgspec.json.decode(response.get_data())
            set_session_cookie(response, document.pop("token"), asked.get("remember", True))
            if trust := document.get("device_trust"):
                kept = f"{document['session']['device']['id']}.{trust.pop('token')}"
                response.set_cookie(TRUST_COOKIE, kept, max_age=trusted_devices.trust_period(), **STRICT_COOKIE)
            response.set_data(msgspec.json.encode(document))
        return response

    return answering


def set_session_cookie(response: Response, token: str, remember: bool) -> None:
    """Host-only, for secure connections, unreadable to scripts; the session's own lifetime counts, not the cookie's.

    One that is not to be remembered is forgotten with the browser's window.
    """
    max_age = 400 * 86_400 if remember else None
    response.set_cookie(COOKIE, token, max_age=max_age, path="/", secure=True, httponly=True, samesite="Lax")


def new_token_response(token: str | None, document: dict | None = None) -> Response:
    """The answer to who gave a new proof, with the session's new token: in its cookie where it came by cookie."""
    by_cookie = current_viewer().csrf_token is not None
    told = {"token": token} if token and not by_cookie else {}
    told = (document or {}) | told
    response = json_response(msgspec.json.encode(told)) if told else Response(status=204)
    if token and by_cookie:
        set_session_cookie(response, token, remember=current_viewer().row.lifetime != "visit")
    return response


def clear_session_cookies(response: Response) -> None:
    """Leave nothing behind in the browser, but that its owner trusts it."""
    if COOKIE in request.cookies:
        response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="Lax")
        response.delete_cookie(BINDING_COOKIE, **STRICT_COOKIE)
        kept = TRUST_COOKIE in request.cookies
        response.headers["Clear-Site-Data"] = '"storage"' if kept else '"cookies", "storage"'


def device_and_trust_token(body: dict) -> tuple[dict | None, str | None]:
    """The device of a sign-in, and what shows that it is trusted: from the body, or where a cookie is asked for, from
    the one that this browser keeps."""
    device, shown = body["device"], body.get("device_trust")
    if body["cookie"] and not shown:
        kept_id, _, kept = request.cookies.get(TRUST_COOKIE, "").partition(".")
        if kept and (device or {}).get("id") in (None, kept_id):
            return (device or {}) | {"id": kept_id}, kept
    return device, shown


def get_or_create_binding(by_cookie: bool) -> str:
    """What the second half of a sign-in must show. A browser keeps the one it has, so that it may have two tabs."""
    kept = request.cookies.get(BINDING_COOKIE, "") if by_cookie else ""
    return kept if BINDING_PATTERN.fullmatch(kept) else new_binding()


def response_with_binding(document: dict, binding: str, by_cookie: bool, status: int = 200) -> Response:
    """The answer to a first half: the binding stands in it, or in a cookie that no script can read."""
    answer = json_response(msgspec.json.encode(document if by_cookie else document | {"binding": binding}), status)
    if by_cookie:
        answer.set_cookie(BINDING_COOKIE, binding, max_age=86_400, **STRICT_COOKIE)
    return answer


def presented_binding(body: dict) -> str:
    """What this browser or app shows of the beginning: in the body, or by its cookie."""
    return body.get("binding") or request.cookies.get(BINDING_COOKIE, "")
