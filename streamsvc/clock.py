"""The only module that reads the current time.

There are two times. *Wall time* is the machine's; leases, worker heartbeats and ids use it. *Now* is the service's
time, which the sandbox can move; everything visible to customers uses it. It is read once per request and passed down.

In the sandbox, an account can have a clock of its own, which runs its billing ahead of the service's time.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

from flask import current_app, g, has_request_context

_frozen_now: ContextVar[datetime | None] = ContextVar("frozen_now", default=None)
_clock_owner: ContextVar[str | None] = ContextVar("clock_owner", default=None)


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


def account_now(account_id: str, moment: datetime | None = None) -> datetime:
    """Return the time of an account's billing: `moment` (default: now), or later if its sandbox clock is ahead."""
    moment = moment or now()
    find_clock = current_app.extensions.get("account_clock")
    return max(moment, find_clock(account_id) or moment) if find_clock and clock_owner() != account_id else moment


def clock_owner() -> str | None:
    """Return the id of the account whose sandbox clock gives the time of this request or job; None: the service's."""
    if _frozen_now.get() or not has_request_context():
        return _clock_owner.get()
    return g.get("clock_owner")


def service_now() -> datetime:
    """Return the service's time of the current request or job, whatever an account's sandbox clock shows."""
    return current_app.extensions["clock"]() if clock_owner() else now()


def use_account_clock(account_id: str, moment: datetime) -> None:
    """Run the rest of this request by the account's sandbox clock, which shows `moment`."""
    g.now, g.clock_owner = moment, account_id


@contextmanager
def frozen_at(moment: datetime, owner: str | None = None) -> Iterator[None]:
    """Fix `now()` to `moment` within the block: a job runs as of the time it was due.

    `owner`: the account whose sandbox clock shows that moment.
    """
    token, owner_token = _frozen_now.set(moment), _clock_owner.set(owner)
    try:
        yield
    finally:
        _frozen_now.reset(token)
        _clock_owner.reset(owner_token)
