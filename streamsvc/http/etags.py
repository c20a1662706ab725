"""Strong ETags: a hash of everything a document depends on. A match is answered with 304, ideally before any query."""

import hashlib

from flask import Response, request

PRIVATE = "private, no-cache"
"""`Cache-Control` of what depends on the caller: browsers store it, and revalidate it on every use."""


def compute_etag(*parts: object) -> str:
    """Compute a strong ETag over everything that the response depends on."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def not_modified_response(etag: str, cache_control: str) -> Response | None:
    """Return a 304 response if the client already has `etag`, else None."""
    if "HTTP_IF_NONE_MATCH" not in request.environ or not request.if_none_match.contains_weak(etag):
        return None
    return add_cache_headers(Response(status=304), etag, cache_control)


def add_cache_headers(response: Response, etag: str, cache_control: str) -> Response:
    """Set the response's ETag and Cache-Control headers."""
    response.set_etag(etag)
    response.headers["Cache-Control"] = cache_control
    return response
