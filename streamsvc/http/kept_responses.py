"""Responses kept under a strong ETag that is computed before the document is built.

The ETag covers everything the response depends on, so a body once built under an ETag can be served again: each
process builds a popular document once per version of what it depends on.
"""

from collections.abc import Callable

from flask import Response

from streamsvc.http.edge import json_response
from streamsvc.http.etags import cache_headers, not_modified_response
from streamsvc.http.response_cache import ResponseCache
from streamsvc.settings import current_extensions


def kept_response(etag: str, cache_control: str, build_json: Callable[[], bytes]) -> Response:
    """Return 304 if the client has the document under `etag`, else the one kept under it, else a new one."""
    if not_modified := not_modified_response(etag, cache_control):
        return not_modified
    extensions = current_extensions()
    cache = extensions.get("kept_responses") or extensions.setdefault("kept_responses", ResponseCache())
    body = cache.get(etag)
    if body is None:
        body = build_json()
        cache.store(etag, body)
    return json_response(body, headers=cache_headers(etag, cache_control))
