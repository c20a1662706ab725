"""Catalogue responses: JSON text under a strong ETag that is computed before the catalogue is read."""

from collections.abc import Callable

from flask import Response, request

from streamsvc.http.etags import compute_etag
from streamsvc.http.kept_responses import kept_response
from streamsvc.http.trusted_proxies import client_origin
from streamsvc.operations.catalog.reading import version
from streamsvc.operations.catalog.reading.audience import Audience, operator_audience, viewer_audience
from streamsvc.security.authentication import current_viewer, is_operator_request

CACHE_CONTROL = "private, no-cache"
"""Browsers store the response and revalidate it on every use, since the profile may have changed in between."""


def current_audience(country: str | None = None) -> Audience:
    """Return the audience of the current request; `country` is the one an operator asks about, ignored for viewers."""
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
    return kept_response(etag, CACHE_CONTROL, lambda: build_json(version.load_snapshot(current_version[0])).encode())
