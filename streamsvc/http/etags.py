"""Strong ETags: a hash of everything a document depends on. A match is answered with 304, ideally before any query."""

import hashlib

from flask import Response, request

PRIVATE = "private, no-cache"
"""`Cache-Control` of what depends on the caller: browsers store it, and revalidate it on every use."""


def compute_etag(*parts: object) -> str:
    """Compute a strong ETag over everything that the response depends on."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def has_etag(etag: str) -> bool:
    """Whether the client has the document under `etag` already, and asks for another one."""
    sent = request.environ.get("HTTP_IF_NONE_MATCH")
    return sent is not None and (sent == f'"{etag}"' or request.if_none_match.contains_weak(etag))


def not_modified_response(etag: str, cache_control: str) -> Response | None:
    """Return a 304 response if the client already has `etag`, else None."""
    return add_cache_headers(Response(status=304), etag, cache_control) if has_etag(etag) else None


def add_cache_headers(response: Response, etag: str, cache_control: str) -> Response:
    """Add an ETag and Cache-Control to a response, which must have neither."""
    response.headers.extend(cache_headers(etag, cache_control))
    return response


def cache_headers(etag: str, cache_control: str) -> tuple[tuple[str, str], ...]:
    """Return an ETag and Cache-Control as headers."""
    return ("ETag", f'"{etag}"'), ("Cache-Control", cache_control)
