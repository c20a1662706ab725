"""Cookies of browser clients: session token, sign-in binding, device trust. No script can read them."""

import re
from collections.abc import Mapping
from datetime import timedelta
from functools import wraps
from typing import Any

import msgspec
from flask import Response, g, make_response, request

from streamsvc.http import idempotency
from streamsvc.http.edge import json_response
from streamsvc.operations.credentials import trusted_devices
from streamsvc.operations.credentials.bindings import new_binding
from streamsvc.operations.credentials.mailbox_proofs import Prover
from streamsvc.rules.refusals.requests import Invalid
from streamsvc.rules.sign_in.inputs import SignInInput
from streamsvc.security.access import View
from streamsvc.security.authentication import COOKIE, find_presented_viewer
from streamsvc.security.principals import current_viewer

BINDING_COOKIE = "__Host-ssb"
TRUST_COOKIE = "__Host-ssd"
"""Value: `<device id>.<trust token>`"""
BINDING_PATTERN = re.compile(r"[A-Za-z0-9_-]{43}")


def token_in_cookie_on_request(view: View) -> View:
    """Move the tokens of a sign-in response into cookies if the request body has `"cookie": true`.

    Place it above `@idempotent`, so that a replayed response sets the cookies again. Raises Invalid for a sign-in that
    also has a DPoP proof: a browser cannot send proofs with a cookie, so the session could never be used.
    """

    @wraps(view)
    def wrapper(*args: Any, **kwargs: Any) -> Response:
        body = request.get_json(silent=True) or {}
        is_by_cookie = body.get("cookie") is True
        if is_by_cookie and g.get("dpop_jkt"):
            raise Invalid(errors={"cookie": ["Must be false with a DPoP proof: a cookie cannot be bound to a key."]})
        response = make_response(view(*args, **kwargs))
        if response.status_code == 201 and is_by_cookie:
            document = msgspec.json.decode(response.get_data())
            set_session_cookie(response, document.pop("token"), body.get("remember", True))
            if trust := document.get("device_trust"):
                value = f"{document['session']['device']['id']}.{trust.pop('token')}"
                _set_strict_cookie(response, TRUST_COOKIE, value, trusted_devices.trust_period())
            response.set_data(msgspec.json.encode(document))
        return response

    wrapper.creates_session = True  # type: ignore[attr-defined]
    return wrapper


def set_session_cookie(response: Response, token: str, remember: bool) -> None:
    """Set the session cookie: host-only, secure, unreadable to scripts.

    With `remember` it is kept for 400 days, else until the browser closes. The session's own lifetime decides when it
    ends, not the cookie's.
    """
    max_age = 400 * 86_400 if remember else None
    response.set_cookie(COOKIE, token, max_age=max_age, path="/", secure=True, httponly=True, samesite="Lax")


def new_token_response(token: str | None, document: dict | None = None) -> Response:
    """Respond to a reauthentication with the session's new token, if any, and `document`.

    A session cookie is replaced instead of returning the token. 204 if the body would be empty.
    """
    by_cookie = current_viewer().csrf_token is not None
    body = (document or {}) | ({"token": token} if token and not by_cookie else {})
    response = json_response(msgspec.json.encode(body)) if body else Response(status=204)
    if token and by_cookie:
        set_session_cookie(response, token, remember=current_viewer().row.lifetime != "visit")
    return response


def clear_session_cookies(response: Response) -> None:
    """Delete the session and binding cookies and the storage of the browser. The device trust cookie stays."""
    if COOKIE in request.cookies:
        response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="Lax")
        response.delete_cookie(BINDING_COOKIE, path="/", secure=True, httponly=True, samesite="Strict")
        is_trusted = TRUST_COOKIE in request.cookies
        response.headers["Clear-Site-Data"] = '"storage"' if is_trusted else '"cookies", "storage"'


def _set_strict_cookie(response: Response, name: str, value: str, max_age: timedelta | int) -> None:
    response.set_cookie(name, value, max_age=max_age, path="/", secure=True, httponly=True, samesite="Strict")


def device_and_trust_token(body: SignInInput) -> tuple[Mapping[str, Any] | None, str | None]:
    """Return the device of a sign-in and its trust token, both None if absent.

    Both come from the body. A sign-in by cookie without `device_trust` uses the browser's trust cookie, unless the body
    names another device.
    """
    device: Mapping[str, Any] | None = body["device"]
    trust_token = body.get("device_trust")
    if body["cookie"] and not trust_token:
        cookie_device_id, _, cookie_token = request.cookies.get(TRUST_COOKIE, "").partition(".")
        if cookie_token and (device or {}).get("id") in (None, cookie_device_id):
            return {**(device or {}), "id": cookie_device_id}, cookie_token
    return device, trust_token


def get_or_create_binding(by_cookie: bool) -> str:
    """Return the binding that the second step of a sign-in must present.

    A browser reuses the binding of its cookie, so that flows in two tabs do not break each other.
    """
    binding = request.cookies.get(BINDING_COOKIE, "") if by_cookie else ""
    return binding if BINDING_PATTERN.fullmatch(binding) else new_binding()


def presented_or_generated_binding(by_cookie: bool) -> str:
    """Return what `get_or_create_binding` does, for an idempotent view: a repeated request returns the same binding."""
    binding = request.cookies.get(BINDING_COOKIE, "") if by_cookie else ""
    return binding if BINDING_PATTERN.fullmatch(binding) else idempotency.generate_secret()


def response_with_binding(document: dict, binding: str, by_cookie: bool, status: int = 200) -> Response:
    """Respond to the first step of a sign-in, with the binding in the body or in a cookie."""
    response = json_response(msgspec.json.encode(document if by_cookie else document | {"binding": binding}), status)
    if by_cookie:
        _set_strict_cookie(response, BINDING_COOKIE, binding, 86_400)
    return response


def current_prover(sent_binding: str | None = None) -> Prover:
    """Return who presents a mailed token: the session and the binding of the request."""
    viewer = find_presented_viewer()
    return Prover(viewer.row.session_id if viewer else None, presented_binding(sent_binding))


def presented_binding(sent: str | None) -> str:
    """Return the binding that the client sent in the body or by cookie, empty if there is none."""
    return sent or request.cookies.get(BINDING_COOKIE, "")


def binding_cookie() -> str:
    """Return the binding of the browser, empty for an app, which can send an idempotency key: see `idempotent`."""
    return request.cookies.get(BINDING_COOKIE, "")


def binding_of_request() -> str:
    """Return the binding of the browser or app, empty if it sent none: see `idempotent`."""
    body = request.get_json(silent=True)
    sent = body.get("binding") if isinstance(body, dict) else None
    return presented_binding(sent if isinstance(sent, str) else None)
