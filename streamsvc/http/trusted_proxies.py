"""What reverse proxies tell of the caller, believed from those alone that the settings trust."""

from urllib.parse import unquote

from flask import current_app, request

from streamsvc.rules.proxies import Networks, client_address, is_trusted_proxy, parse_address

VIA_TRUSTED_PROXY = "streamsvc.came_by_proxy"
MAX_CITY_LENGTH = 100


class TrustedProxyMiddleware:
    """Puts the caller's address, and the scheme that it came by, in the place of the nearest proxy's."""

    def __init__(self, wsgi_app, trusted: int | Networks):
        self.wsgi_app, self.trusted = wsgi_app, trusted

    def __call__(self, environ, start_response):
        peer = environ.get("REMOTE_ADDR", "")
        environ[VIA_TRUSTED_PROXY] = is_trusted_proxy(parse_address(peer), 0, self.trusted)
        environ["REMOTE_ADDR"] = client_address(peer, environ.get("HTTP_X_FORWARDED_FOR", ""), self.trusted)
        scheme = environ.get("HTTP_X_FORWARDED_PROTO", "").rpartition(",")[2].strip()
        if environ[VIA_TRUSTED_PROXY] and scheme in ("http", "https"):
            environ["wsgi.url_scheme"] = scheme
        return self.wsgi_app(environ, start_response)


def read_proxy_header(name: str) -> str:
    """What the proxies say in this header; empty where they say nothing, or the call did not come from one of them.

    Where the settings name a header and no proxy at all, as the sandbox lets them, whoever calls is believed.
    """
    if not name or not request.environ.get(VIA_TRUSTED_PROXY, not current_app.extensions["settings"].trusted_proxies):
        return ""
    return request.headers.get(name, "")


def client_city() -> str | None:
    """Where the caller is, roughly, as the proxies tell it: in UTF-8, percent-encoded or not; None where unknown."""
    raw = read_proxy_header(current_app.extensions["settings"].city_header).encode("latin-1", "replace")
    name = unquote(raw.decode(errors="replace"), errors="replace").strip()
    return name if 0 < len(name) <= MAX_CITY_LENGTH and name.isprintable() and "\ufffd" not in name else None


def client_country() -> str | None:
    """Return the caller's country as the trusted proxy reports it, in upper case; "" if it reports none.

    None if the settings name no header that carries the country.
    """
    header = current_app.extensions["settings"].country_header
    return read_proxy_header(header).upper() if header else None
