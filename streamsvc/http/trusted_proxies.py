"""What reverse proxies report about the client, accepted only from trusted ones."""

from collections.abc import Iterable
from functools import lru_cache, partial
from urllib.parse import unquote
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import request

from streamsvc.gateways.geography import UNKNOWN, find_place, is_hidden_network
from streamsvc.rules.geography import Origin, Place
from streamsvc.rules.proxies import Networks, client_address, is_trusted_proxy, parse_address
from streamsvc.settings import current_settings

VIA_TRUSTED_PROXY = "streamsvc.came_by_proxy"
MAX_CITY_LENGTH, MAX_CACHED_LENGTH = 100, 200


class TrustedProxyMiddleware:
    """Replaces the nearest proxy's address and scheme by the client's."""

    def __init__(self, wsgi_app: WSGIApplication, trusted: int | Networks) -> None:
        self.wsgi_app = wsgi_app
        self.find_client = partial(find_client, trusted=trusted)
        self.find_usual_client = lru_cache(maxsize=1024)(self.find_client)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        peer, forwarded_for = environ.get("REMOTE_ADDR", ""), environ.get("HTTP_X_FORWARDED_FOR", "")
        find = self.find_usual_client if len(forwarded_for) <= MAX_CACHED_LENGTH else self.find_client
        environ[VIA_TRUSTED_PROXY], environ["REMOTE_ADDR"] = find(peer, forwarded_for)
        scheme = environ.get("HTTP_X_FORWARDED_PROTO", "").rpartition(",")[2].strip()
        if environ[VIA_TRUSTED_PROXY] and scheme in ("http", "https"):
            environ["wsgi.url_scheme"] = scheme
        return self.wsgi_app(environ, start_response)


def find_client(peer: str, forwarded_for: str, trusted: int | Networks) -> tuple[bool, str]:
    """Return whether the peer is a trusted proxy, and the client's address."""
    return is_trusted_proxy(parse_address(peer), 0, trusted), client_address(peer, forwarded_for, trusted)


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
    """Return the caller's country, in upper case: as the trusted proxy reports it, else from the geographic database.

    "" if it is unknown; None if the settings name neither a header nor a database.
    """
    settings = current_settings()
    if settings.country_header:
        return read_proxy_header(settings.country_header).upper()
    return client_place().country or "" if settings.geo_database else None


def client_origin() -> Origin:
    """Return where the request comes from, for decisions on access."""
    return Origin(client_country(), current_settings().vpn != "allow" and is_refused_network(request.remote_addr))


def is_refused_network(address: str | None) -> bool:
    """Whether the settings refuse playback from an address: of a VPN or a host, or one that cannot be looked up."""
    settings = current_settings()
    if settings.vpn == "allow":
        return False
    return is_hidden_network(settings.vpn_database, address) is not False


def client_place() -> Place:
    """Return what the geographic database says about the client's address."""
    path = current_settings().geo_database
    return find_place(path, request.remote_addr) if path else UNKNOWN
