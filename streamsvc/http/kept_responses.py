"""Responses kept under a strong ETag that is computed before the document is built.

The ETag covers everything the response depends on, so a body once built under an ETag can be served again: each
process builds a popular document once per version of what it depends on.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable

from flask import Response, current_app

from streamsvc.http.edge import json_response
from streamsvc.http.etags import add_cache_headers, not_modified_response

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


def kept_response(etag: str, cache_control: str, build_json: Callable[[], bytes]) -> Response:
    """Return 304 if the client has the document under `etag`, else the one kept under it, else a new one."""
    if not_modified := not_modified_response(etag, cache_control):
        return not_modified
    cache = current_app.extensions.setdefault("kept_responses", ResponseCache())
    body = cache.get(etag)
    if body is None:
        body = build_json()
        cache.store(etag, body)
    return add_cache_headers(json_response(body), etag, cache_control)
