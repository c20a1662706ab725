"""What reverse proxies tell of the caller, believed from those alone that the settings trust."""

from urllib.parse import unquote

from flask import current_app, request

from streamsvc.rules.proxies import Networks, address, client_of, is_trusted

CAME_BY_PROXY = "streamsvc.came_by_proxy"
LONGEST_CITY = 100


class Proxies:
    """Puts the caller's address, and the scheme that it came by, in the place of the nearest proxy's."""

    def __init__(self, inner, trusted: int | Networks):
        self.inner, self.trusted = inner, trusted

    def __call__(self, environ, start_response):
        peer = environ.get("REMOTE_ADDR", "")
        environ[CAME_BY_PROXY] = is_trusted(address(peer), 0, self.trusted)
        environ["REMOTE_ADDR"] = client_of(peer, environ.get("HTTP_X_FORWARDED_FOR", ""), self.trusted)
        scheme = environ.get("HTTP_X_FORWARDED_PROTO", "").rpartition(",")[2].strip()
        if environ[CAME_BY_PROXY] and scheme in ("http", "https"):
            environ["wsgi.url_scheme"] = scheme
        return self.inner(environ, start_response)


def told(header: str) -> str:
    """What the proxies say in this header; empty where they say nothing, or the call did not come from one of them.

    Where the settings name a header and no proxy at all, as the sandbox lets them, whoever calls is believed.
    """
    if not header or not request.environ.get(CAME_BY_PROXY, not current_app.extensions["settings"].trusted_proxies):
        return ""
    return request.headers.get(header, "")


def city() -> str | None:
    """Where the caller is, roughly, as the proxies tell it: in UTF-8, percent-encoded or not; None where unknown."""
    raw = told(current_app.extensions["settings"].city_header).encode("latin-1", "replace")
    name = unquote(raw.decode(errors="replace"), errors="replace").strip()
    return name if 0 < len(name) <= LONGEST_CITY and name.isprintable() and "\ufffd" not in name else None
