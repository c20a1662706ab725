"""Cross-origin requests of browser front ends, as WSGI middleware: every response carries the headers, errors too.

Flask-Cors adds them in `after_request` hooks: authentication would reject a preflight before it, and what other
middleware responds would lack them.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

if TYPE_CHECKING:
    from _typeshed import OptExcInfo

PREFLIGHT_MAX_AGE_S = 7200
"""Chromium caches no preflight for longer."""
REQUEST_HEADERS = (
    "Authorization",
    "Content-Type",
    "DPoP",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "SOAPAction",
    "X-CSRF-Token",
    "X-Guest-Token",
    "X-Request-Id",
    "traceparent",
)
"""What front ends may send."""
EXPOSED_HEADERS = (
    "Content-Disposition",
    "DPoP-Nonce",
    "ETag",
    "Idempotency-Replayed",
    "Location",
    "Retry-After",
    "WWW-Authenticate",
    "X-Request-Id",
)
"""What their scripts may read, besides the headers that every script may read, such as Cache-Control."""
ALLOW_CREDENTIALS = ("Access-Control-Allow-Credentials", "true")
VARY = ("Vary", "Origin")
"""Sent to everyone, also without an Origin: a shared cache must not give one origin's response to another.

It is one line with what else the response varies on: nginx before 1.23 heeds only the last line.
"""
PREFLIGHT = (
    ("Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, PATCH, DELETE"),
    ("Access-Control-Allow-Headers", ", ".join(REQUEST_HEADERS)),
    ("Access-Control-Max-Age", str(PREFLIGHT_MAX_AGE_S)),
)


class CorsMiddleware:
    """Responds to the preflights of the allowed origins and lets their pages read responses, with cookies."""

    def __init__(self, wsgi_app: WSGIApplication, origins: tuple[str, ...]) -> None:
        self.wsgi_app = wsgi_app
        exposed = ("Access-Control-Expose-Headers", ", ".join(EXPOSED_HEADERS))
        self.headers = {
            origin: (("Access-Control-Allow-Origin", origin), ALLOW_CREDENTIALS, exposed) for origin in origins
        }

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        headers = self.headers.get(environ.get("HTTP_ORIGIN", ""))
        is_preflight = environ["REQUEST_METHOD"] == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ
        if headers and is_preflight:
            start_response("204 NO CONTENT", [VARY, *headers, *PREFLIGHT])
            return []

        def start_with_headers(
            status: str, response_headers: list[tuple[str, str]], exc_info: "OptExcInfo | None" = None
        ) -> Callable[[bytes], object]:
            return start_response(status, self.complete(environ, status, response_headers, ())[0], exc_info)

        return self.wsgi_app(environ, start_with_headers)

    def prepare(self, environ: WSGIEnvironment) -> None:
        """Do nothing: the headers follow from the request."""

    def complete(
        self, environ: WSGIEnvironment, status: str, headers: list[tuple[str, str]], body: Iterable[bytes]
    ) -> tuple[list[tuple[str, str]], Iterable[bytes]]:
        """Add the headers of the request's origin."""
        varies_on = [value for name, value in headers if name.lower() == "vary"]
        others = [header for header in headers if header[0].lower() != "vary"]
        vary = ("Vary", ", ".join([*varies_on, VARY[1]]))
        return [*others, vary, *self.headers.get(environ.get("HTTP_ORIGIN", ""), ())], body
