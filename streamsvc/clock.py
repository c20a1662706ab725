"""The only place that asks what time it is.

Two times exist. The *wall* is the machine's: leases, worker heartbeats and ids use it. *Now* is the service's, which
the sandbox may have moved: everything that a customer can see uses it. It is asked once a request and handed down.
"""

import time
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

from flask import current_app, g, has_request_context

_held: ContextVar[datetime | None] = ContextVar("held", default=None)


def wall() -> datetime:
    """The machine's time, aware UTC."""
    return datetime.now(UTC)


def wall_ms() -> int:
    """Milliseconds since 1970 by the machine's time."""
    return time.time_ns() // 1_000_000


def now() -> datetime:
    """The moment that this request, or this job, takes place; aware UTC."""
    if held := _held.get():
        return held
    if not has_request_context():
        return current_app.extensions["clock"]()
    if "now" not in g:
        g.now = current_app.extensions["clock"]()
    return g.now


@contextmanager
def held(moment: datetime):
    """Within the block it is `moment`: how a job runs at the time it fell due."""
    token = _held.set(moment)
    try:
        yield
    finally:
        _held.reset(token)
