"""Catalogue responses: JSON text under a strong ETag that is computed before the catalogue is read.

The ETag covers everything the response depends on, so a body once built under an ETag can be served again: each
process builds a popular page once per version of the catalogue.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable

from flask import Response, current_app, request
from werkzeug.datastructures import HeaderSet

from streamsvc.http.edge import json_response
from streamsvc.http.etags import add_cache_headers, compute_etag, not_modified_response
from streamsvc.http.trusted_proxies import client_country, client_origin
from streamsvc.operations.catalog.reading import version
from streamsvc.operations.catalog.reading.audience import (
    Audience,
    operator_audience,
    viewer_audience,
    visitor_audience,
)
from streamsvc.rules.catalog.codes import COUNTRIES
from streamsvc.security.authentication import current_viewer, is_operator_request, is_visitor_request
from streamsvc.settings import current_settings

PRIVATE = "private, no-cache"
"""Browsers store the response and revalidate it on every use, since the profile may have changed in between."""
PUBLIC = "public, max-age=60, s-maxage=60"
"""For visitors without a token, from whose country alone the response follows."""
BY_ADDRESS = "private, max-age=60"
"""For visitors whose country follows from their address, of which shared caches know nothing."""
MAX_CACHE_BYTES = 16 * 1024 * 1024
"""Total size of the response bodies that one process caches."""


class ResponseCache:
    """A least-recently-used cache of response bodies by ETag."""

    def __init__(self, max_bytes: int = MAX_CACHE_BYTES):
        self.bodies: OrderedDict[str, bytes] = OrderedDict()
        self.max_bytes = max_bytes
        self.size_bytes = 0
        self.lock = threading.Lock()

    def get(self, etag: str) -> bytes | None:
        """Return the body cached under an ETag, or None."""
        with self.lock:
            body = self.bodies.get(etag)
            if body is not None:
                self.bodies.move_to_end(etag)
            return body

    def store(self, etag: str, body: bytes) -> None:
        """Cache a body, evicting the least recently used ones beyond `max_bytes`."""
        with self.lock:
            self.size_bytes += len(body) - len(self.bodies.pop(etag, b""))
            self.bodies[etag] = body
            while self.size_bytes > self.max_bytes:
                self.size_bytes -= len(self.bodies.popitem(last=False)[1])


def current_audience(country: str | None) -> Audience:
    """Return the audience of the current request.

    `country`: the one that an operator asks about, or that a visitor names in place of a trusted proxy; ignored for
    viewers.
    """
    if is_visitor_request():
        code = client_country() or country
        return visitor_audience(code if code in COUNTRIES else None, current_settings().guest_max_age)
    if is_operator_request():
        return operator_audience(country)
    return viewer_audience(current_viewer(), client_origin())


def catalog_response(
    audience: Audience,
    build_json: Callable[[version.CatalogSnapshot], str],
    *etag_parts: object,
) -> Response:
    """Return 304 if the client has the current representation, else the JSON that `build_json` returns.

    `etag_parts` are what the response depends on besides the catalogue's version, the audience and the URL.
    """
    current_version = version.current_catalog_version()
    etag = compute_etag(current_version, audience, request.full_path, *etag_parts)
    cache_control = _cache_control()
    if not_modified := not_modified_response(etag, cache_control):
        return _add_vary(not_modified)
    cache = current_app.extensions.setdefault("catalog_response_cache", ResponseCache())
    body = cache.get(etag)
    if body is None:
        body = build_json(version.load_snapshot(current_version[0])).encode()
        cache.store(etag, body)
    return _add_vary(add_cache_headers(json_response(body), etag, cache_control))


def _cache_control() -> str:
    if not is_visitor_request():
        return PRIVATE
    settings = current_settings()
    return BY_ADDRESS if settings.geo_database and not settings.country_header else PUBLIC


def _add_vary(response: Response) -> Response:
    """Say which headers of the request a visitor's response depends on, so that no shared cache serves it to others."""
    if is_visitor_request():
        names = ["Authorization", "Cookie", current_settings().country_header]
        response.vary = HeaderSet(filter(None, names))
    return response
