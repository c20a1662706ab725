"""What a web process accepts from its clients, whichever server runs it."""

import re
import resource
from functools import lru_cache

from streamsvc.http.request_body import MAX_BODY_BYTES

MAX_LINE_BYTES = MAX_FIELD_BYTES = 8190
"""The most bytes of a request line, and of one header."""
MAX_HEAD_BYTES = 64 * 1024
LARGE_BODIES = {("POST", "/v1/admin/imports"): 64 << 20}
"""(method, path) -> the most bytes of its body, where that is more than `MAX_BODY_BYTES`."""
MAX_LARGE_BODIES = 4
SPOOL_ABOVE_BYTES = 64 * 1024
MIN_BODY_BYTES_PER_S = 32 * 1024
KEEPALIVE_AFTER_STOP_S, LINGER_S = 2.0, 2.0
MAX_OPEN_FILES = 16_384
RESERVED_PATH = "/livez"
"""The liveness check has its own thread, so that it never waits."""
HOST = re.compile(r"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::(\d{1,5}))?")


def max_body_bytes(method: str, path: str) -> int:
    """Return the most bytes of the body of such a request."""
    return LARGE_BODIES.get((method, path), MAX_BODY_BYTES)


def body_deadline(started: float, request_timeout_s: float, received_bytes: int) -> float:
    """Return when a body must have arrived, if so much of it has: twice as long as a head, and longer if it is long."""
    return started + 2 * request_timeout_s + received_bytes / MIN_BODY_BYTES_PER_S


@lru_cache(maxsize=256)
def is_valid_host(host: str) -> bool:
    """Whether a Host header is well-formed (RFC 9112, section 3.2)."""
    match = HOST.fullmatch(host)
    return match is not None and int(match[1] or 0) <= 65535


def raise_open_file_limit() -> None:
    """Let this process have as many connections as it accepts, as far as the system allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
