"""The cookie of an operator who signed in with a browser, on the console. No script can read it."""

from functools import wraps
from typing import Any

import msgspec
from flask import Response, make_response, request

from streamsvc.rules.sign_in.sessions import OPERATOR_LIFETIME
from streamsvc.security.access import View
from streamsvc.security.authentication import OPERATOR_COOKIE


def operator_token_in_cookie_on_request(view: View) -> View:
    """Move the token of an operator's sign-in into a cookie if the request body has `"cookie": true`.

    Place it above `@idempotent`, so that a replayed response sets the cookie again.
    """

    @wraps(view)
    def wrapper(*args: Any, **kwargs: Any) -> Response:
        response = make_response(view(*args, **kwargs))
        if response.status_code == 201 and (request.get_json(silent=True) or {}).get("cookie") is True:
            document = msgspec.json.decode(response.get_data())
            max_age = OPERATOR_LIFETIME.absolute
            token = document.pop("token")
            response.set_cookie(
                OPERATOR_COOKIE, token, max_age=max_age, path="/", secure=True, httponly=True, samesite="Strict"
            )
            response.set_data(msgspec.json.encode(document))
        return response

    return wrapper


def clear_operator_cookie(response: Response) -> Response:
    """Delete the cookie from the browser that sent it."""
    if OPERATOR_COOKIE in request.cookies:
        response.delete_cookie(OPERATOR_COOKIE, path="/", secure=True, httponly=True, samesite="Strict")
    return response
