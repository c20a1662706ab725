"""How the catalogue answers: ready JSON under a strong ETag that is known before the catalogue is read.

The ETag is made of everything that the answer depends on, so what this process once answered under it is the answer:
a page that many ask for is made once for each version of the catalogue.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable

from flask import Response, current_app, request

from streamsvc.http.edge import json_response
from streamsvc.http.etags import add_cache_headers, compute_etag, not_modified_response
from streamsvc.operations.catalog.reading import version
from streamsvc.operations.catalog.reading.audience import Audience

CACHE_CONTROL = "private, no-cache"
"""A browser keeps the answer and asks each time whether it still holds: a profile may have changed in between."""
MAX_CACHE_BYTES = 16 * 1024 * 1024
"""What the answers that a process keeps may weigh together."""


class ResponseCache:
    """The bodies asked for last, by ETag."""

    def __init__(self, max_bytes: int = MAX_CACHE_BYTES):
        self.bodies: OrderedDict[str, bytes] = OrderedDict()
        self.max_bytes = max_bytes
        self.size_bytes = 0
        self.lock = threading.Lock()

    def get(self, etag: str) -> bytes | None:
        with self.lock:
            body = self.bodies.get(etag)
            if body is not None:
                self.bodies.move_to_end(etag)
            return body

    def store(self, etag: str, body: bytes) -> None:
        """Keep it; what was not asked for longest goes."""
        with self.lock:
            self.size_bytes += len(body) - len(self.bodies.pop(etag, b""))
            self.bodies[etag] = body
            while self.size_bytes > self.max_bytes:
                self.size_bytes -= len(self.bodies.popitem(last=False)[1])


def catalog_response(audience: Audience, build_json: Callable[[version.CatalogSnapshot], str], *more) -> Response:
    """304 where the client has this very answer, else what `make` gives as JSON. `more` is what else it depends on."""
    moment = version.current_catalog_version()
    etag = compute_etag(moment, audience, request.full_path, *more)
    if same := not_modified_response(etag, CACHE_CONTROL):
        return same
    answers = current_app.extensions.setdefault("catalog_answers", ResponseCache())
    body = answers.get(etag)
    if body is None:
        body = build_json(version.load_snapshot(moment[0])).encode()
        answers.store(etag, body)
    return add_cache_headers(json_response(body), etag, CACHE_CONTROL)
