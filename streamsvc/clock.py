"""The only module that reads the current time.

There are two times. *Wall time* is the machine's; leases, worker heartbeats and ids use it. *Now* is the service's
time, which the sandbox can move; everything visible to customers uses it. It is read once per request and passed down.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

from flask import current_app, g, has_request_context

_frozen_now: ContextVar[datetime | None] = ContextVar("frozen_now", default=None)


def wall_time() -> datetime:
    """Return the machine's time; aware UTC."""
    return datetime.now(UTC)


def wall_time_ms() -> int:
    """Return the machine's time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def now() -> datetime:
    """Return the time of the current request or job; aware UTC."""
    if frozen := _frozen_now.get():
        return frozen
    if not has_request_context():
        return current_app.extensions["clock"]()
    if "now" not in g:
        g.now = current_app.extensions["clock"]()
    return g.now


@contextmanager
def frozen_at(moment: datetime) -> Iterator[None]:
    """Fix `now()` to `moment` within the block: a job runs as of the time it was due."""
    token = _frozen_now.set(moment)
    try:
        yield
    finally:
        _frozen_now.reset(token)
