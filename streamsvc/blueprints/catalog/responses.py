"""Catalogue responses: JSON text under a strong ETag that is computed before the catalogue is read."""

import math
from collections.abc import Callable
from datetime import datetime
from functools import partial

from flask import Response, request
from werkzeug.datastructures import HeaderSet

from streamsvc.http.edge import json_response
from streamsvc.http.etags import PRIVATE, add_cache_headers, cache_headers, compute_etag, not_modified_response
from streamsvc.http.kept_responses import kept_response
from streamsvc.http.trusted_proxies import client_country, client_origin
from streamsvc.operations.catalog.channels.reading import Document
from streamsvc.operations.catalog.reading import version
from streamsvc.operations.catalog.reading.audience import (
    Audience,
    operator_audience,
    viewer_audience,
    visitor_audience,
)
from streamsvc.operations.catalog.titles.json_fragments import encode_json
from streamsvc.rules.catalog.codes import COUNTRIES
from streamsvc.security.joined_reads import reads_with_viewer
from streamsvc.security.operators import Operator
from streamsvc.security.principals import current_principal, is_visitor_request
from streamsvc.security.viewers import Viewer
from streamsvc.settings import current_settings
from streamsvc.storage.replica import read_latest, read_version

reads_catalog_version = reads_with_viewer(version.choose_catalog_read)
"""Mark a view that returns `catalog_response`."""
VISITOR_MAX_AGE_S = 60
"""How long a visitor's response may be kept."""
POSTER_MAX_AGE_S = 3600
"""How long anybody's copy of a drawn poster may be kept."""
OPERATOR_MAX_AGE_S = 3600
"""How long an operator's copy of what changes at known times may be kept: the guide may be replaced."""


def current_audience(country: str | None) -> Audience:
    """Return the audience of the current request.

    `country`: the one that an operator asks about, or that a visitor names in place of a trusted proxy; ignored for
    viewers.
    """
    principal = current_principal()
    if principal is None:
        code = client_country() or country
        return visitor_audience(code if code in COUNTRIES else None, current_settings().guest_max_age)
    if isinstance(principal, Operator):
        return operator_audience(country)
    return viewer_audience(principal, client_origin())


def catalog_response(
    audience: Audience,
    build_json: Callable[[version.CatalogSnapshot], str],
    *etag_parts: object,
    load_personal_version: Callable[[], tuple] = tuple,
) -> Response:
    """Return 304 if the client has the current representation, else the JSON that `build_json` returns.

    For views marked by `reads_catalog_version`. `etag_parts` are what the response depends on besides the catalogue's
    version, the audience and the URL.
    `load_personal_version` reads what it depends on in the profile's own rows.
    """
    principal = current_principal()
    period = version.current_catalog_period(principal if isinstance(principal, Viewer) else None)
    personal_version = load_personal_version()
    path, query = request.environ["PATH_INFO"], request.environ["QUERY_STRING"]
    etag = compute_etag(period.etag_part, audience.etag_part, path, query, *etag_parts, *personal_version)

    def build() -> bytes:
        return build_json(version.load_snapshot(period.version)).encode()

    reader = partial(read_version, period.version, build, load_personal_version, personal_version)
    is_visitor = principal is None
    return _add_vary(kept_response(etag, _cache_control(VISITOR_MAX_AGE_S, is_visitor), reader), is_visitor)


def document_response(load_document: Callable[[], Document], audience: Audience, now: datetime) -> Response:
    """Return the document as `live_response` does, fresh until the next change of it is due at most."""
    document = read_latest(load_document)
    fresh_s = math.floor((document.changes_at - now).total_seconds()) if document.changes_at else None
    return live_response(encode_json(document.members), audience, fresh_s)


def live_response(text: str, audience: Audience, fresh_s: int | None = None) -> Response:
    """Return JSON under an ETag of its content, or 304 if the client has it.

    For what changes without the catalogue's version, such as what is on now. `fresh_s`: for how long a copy of an
    operator or a visitor is fresh at most. A viewer's is revalidated on every use, as everywhere in the
    catalogue: another profile may have been selected.
    """
    longest_s = OPERATOR_MAX_AGE_S if audience.sees_all else VISITOR_MAX_AGE_S
    longest_s = longest_s if fresh_s is None else min(longest_s, fresh_s)
    body, is_visitor = text.encode(), is_visitor_request()
    cache_control = f"private, max-age={longest_s}" if audience.sees_all else _cache_control(longest_s, is_visitor)
    etag = compute_etag(body)
    response = not_modified_response(etag, cache_control)
    return _add_vary(response or json_response(body, headers=cache_headers(etag, cache_control)), is_visitor)


def poster_response(svg: str) -> Response:
    """Return an image that changes only with its title, or 304 if the client has it."""
    body, is_visitor = svg.encode(), is_visitor_request()
    cache_control = _cache_control(POSTER_MAX_AGE_S, is_visitor)
    if cache_control == PRIVATE:
        cache_control = f"private, max-age={POSTER_MAX_AGE_S}"
    etag = compute_etag(body)
    image = not_modified_response(etag, cache_control) or add_cache_headers(
        Response(body, content_type="image/svg+xml"), etag, cache_control
    )
    return _add_vary(image, is_visitor)


def _cache_control(max_age_s: int, is_visitor: bool) -> str:
    """Return the header of a viewer's or a visitor's response.

    A visitor's follows from the country alone. If that follows from the address, shared caches know nothing of it.
    """
    if not is_visitor:
        return PRIVATE
    settings = current_settings()
    if settings.geo_database and not settings.country_header:
        return f"private, max-age={max_age_s}"
    return f"public, max-age={max_age_s}, s-maxage={max_age_s}"


def _add_vary(response: Response, is_visitor: bool) -> Response:
    """Say which headers of the request a visitor's response depends on, so that no shared cache serves it to others."""
    if is_visitor:
        names = ["Authorization", "Cookie", current_settings().country_header]
        response.vary = HeaderSet(filter(None, names))
    return response
