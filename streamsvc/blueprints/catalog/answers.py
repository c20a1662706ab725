"""How the catalogue answers: ready JSON under a strong ETag that is known before the catalogue is read.

The ETag is made of everything that the answer depends on, so what this process once answered under it is the answer:
a page that many ask for is made once for each version of the catalogue.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable

from flask import Response, current_app, request

from streamsvc.http.edge import json_response
from streamsvc.http.etags import etag_of, stamped, unchanged
from streamsvc.operations.catalog.reading import version
from streamsvc.operations.catalog.reading.audience import Audience

KEPT = "private, no-cache"
"""A browser keeps the answer and asks each time whether it still holds: a profile may have changed in between."""
MOST_BYTES = 16 * 1024 * 1024
"""What the answers that a process keeps may weigh together."""


class Answers:
    """The bodies asked for last, by ETag."""

    def __init__(self, most_bytes: int = MOST_BYTES):
        self.bodies: OrderedDict[str, bytes] = OrderedDict()
        self.most_bytes = most_bytes
        self.weight = 0
        self.lock = threading.Lock()

    def get(self, etag: str) -> bytes | None:
        with self.lock:
            body = self.bodies.get(etag)
            if body is not None:
                self.bodies.move_to_end(etag)
            return body

    def keep(self, etag: str, body: bytes) -> None:
        """Keep it; what was not asked for longest goes."""
        with self.lock:
            self.weight += len(body) - len(self.bodies.pop(etag, b""))
            self.bodies[etag] = body
            while self.weight > self.most_bytes:
                self.weight -= len(self.bodies.popitem(last=False)[1])


def answer(audience: Audience, make: Callable[[version.Known], str], *more) -> Response:
    """304 where the client has this very answer, else what `make` gives as JSON. `more` is what else it depends on."""
    moment = version.moment()
    etag = etag_of(moment, audience, request.full_path, *more)
    if same := unchanged(etag, KEPT):
        return same
    answers = current_app.extensions.setdefault("catalog_answers", Answers())
    body = answers.get(etag)
    if body is None:
        body = make(version.known(moment[0])).encode()
        answers.keep(etag, body)
    return stamped(json_response(body), etag, KEPT)
