"""A cache of response bodies by ETag."""

import threading
from collections import OrderedDict

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
