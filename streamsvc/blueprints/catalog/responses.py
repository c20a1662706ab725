"""Catalogue responses: JSON text under a strong ETag that is computed before the catalogue is read."""

from collections.abc import Callable

from flask import Response, request
from werkzeug.datastructures import HeaderSet

from streamsvc.http.etags import PRIVATE, compute_etag
from streamsvc.http.kept_responses import kept_response
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

PUBLIC = "public, max-age=60, s-maxage=60"
"""For visitors without a token, from whose country alone the response follows."""
BY_ADDRESS = "private, max-age=60"
"""For visitors whose country follows from their address, of which shared caches know nothing."""


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

    def build() -> bytes:
        return build_json(version.load_snapshot(current_version[0])).encode()

    return _add_vary(kept_response(etag, _cache_control(), build))


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
