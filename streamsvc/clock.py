"""The only place that asks what time it is.

Two times exist. The *wall* is the machine's: leases, worker heartbeats and ids use it. *Now* is the service's, which
the sandbox may have moved: everything that a customer can see uses it. It is asked once a request and handed down.
"""

import time
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

from flask import current_app, g, has_request_context

_frozen_now: ContextVar[datetime | None] = ContextVar("held", default=None)


def wall_time() -> datetime:
    """The machine's time, aware UTC."""
    return datetime.now(UTC)


def wall_time_ms() -> int:
    """Milliseconds since 1970 by the machine's time."""
    return time.time_ns() // 1_000_000


def now() -> datetime:
    """The moment that this request, or this job, takes place; aware UTC."""
    if held := _frozen_now.get():
        return held
    if not has_request_context():
        return current_app.extensions["clock"]()
    if "now" not in g:
        g.now = current_app.extensions["clock"]()
    return g.now


@contextmanager
def frozen_at(moment: datetime):
    """Within the block it is `moment`: how a job runs at the time it fell due."""
    token = _frozen_now.set(moment)
    try:
        yield
    finally:
        _frozen_now.reset(token)
