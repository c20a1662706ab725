"""What reverse proxies report about the client, accepted only from trusted ones."""

from collections.abc import Iterable
from urllib.parse import unquote
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import request

from streamsvc.rules.proxies import Networks, client_address, is_trusted_proxy, parse_address
from streamsvc.settings import current_settings

VIA_TRUSTED_PROXY = "streamsvc.came_by_proxy"
MAX_CITY_LENGTH = 100


class TrustedProxyMiddleware:
    """Replaces the nearest proxy's address and scheme by the client's."""

    def __init__(self, wsgi_app: WSGIApplication, trusted: int | Networks) -> None:
        self.wsgi_app, self.trusted = wsgi_app, trusted

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        peer = environ.get("REMOTE_ADDR", "")
        environ[VIA_TRUSTED_PROXY] = is_trusted_proxy(parse_address(peer), 0, self.trusted)
        environ["REMOTE_ADDR"] = client_address(peer, environ.get("HTTP_X_FORWARDED_FOR", ""), self.trusted)
        scheme = environ.get("HTTP_X_FORWARDED_PROTO", "").rpartition(",")[2].strip()
        if environ[VIA_TRUSTED_PROXY] and scheme in ("http", "https"):
            environ["wsgi.url_scheme"] = scheme
        return self.wsgi_app(environ, start_response)


def read_proxy_header(name: str) -> str:
    """Read the value of a header set by a trusted proxy; empty if it is absent or the request did not come through one.

    In the sandbox a header may be configured without any trusted proxy; it is then accepted from any client.
    """
    if not name or not request.environ.get(VIA_TRUSTED_PROXY, not current_settings().trusted_proxies):
        return ""
    return request.headers.get(name, "")


def client_city() -> str | None:
    """Return the client's approximate city from the proxies' header (UTF-8, optionally percent-encoded), or None."""
    raw = read_proxy_header(current_settings().city_header).encode("latin-1", "replace")
    name = unquote(raw.decode(errors="replace"), errors="replace").strip()
    return name if 0 < len(name) <= MAX_CITY_LENGTH and name.isprintable() and "\ufffd" not in name else None


def client_country() -> str | None:
    """Return the caller's country as the trusted proxy reports it, in upper case; "" if it reports none.

    None if the settings name no header that carries the country.
    """
    header = current_settings().country_header
    return read_proxy_header(header).upper() if header else None
