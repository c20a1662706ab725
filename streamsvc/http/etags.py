"""Strong ETags: what a document depends on is hashed; who already has it gets 304, at best before any query."""

import hashlib

from flask import Response, request


def compute_etag(*parts) -> str:
    """A strong ETag over everything that the answer depends on."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def not_modified_response(etag: str, cache_control: str) -> Response | None:
    """304 where the client already has `etag`, else None."""
    if not request.if_none_match.contains_weak(etag):
        return None
    return add_cache_headers(Response(status=304), etag, cache_control)


def add_cache_headers(response: Response, etag: str, cache_control: str) -> Response:
    """The answer with its ETag and how long it may be kept."""
    response.set_etag(etag)
    response.headers["Cache-Control"] = cache_control
    return response
