"""The only module that reads the current time.

There are two times. *Wall time* is the machine's; leases, worker heartbeats and ids use it. *Now* is the service's
time, which the sandbox can move; everything visible to customers uses it. It is read once per request and passed down.

A machine's clock may jump: each reading of it is compared with the time since the machine started. After a jump of more
than an hour, wall time goes on from before the jump, and `find_doubt` says so until the clock returns or an operator
confirms it (operations/maintenance/clock_check.py).

In the sandbox, an account can have a clock of its own, which runs its billing ahead of the service's time.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta

from flask import current_app, g, has_request_context

from streamsvc.rules.clock_trust import MAX_STEP, describe_difference

_frozen_now: ContextVar[datetime | None] = ContextVar("frozen_now", default=None)
_clock_owner: ContextVar[str | None] = ContextVar("clock_owner", default=None)


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NOTHING = timedelta()
MAX_STEP_NS = MAX_STEP // timedelta(microseconds=1) * 1_000
BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Counts from the start of the machine, also while it sleeps, and is never set."""


class MachineClock:
    """This process's view of the machine's clock: what it shows, and what it should show by the time since boot."""

    def __init__(
        self,
        read_clock_ns: Callable[[], int] = time.time_ns,
        read_uptime_ns: Callable[[], int] = lambda: time.clock_gettime_ns(BOOT_CLOCK),
    ) -> None:
        self.read_clock_ns, self.read_uptime_ns = read_clock_ns, read_uptime_ns
        self.booted_ns = read_clock_ns() - read_uptime_ns()
        """The machine's start in nanoseconds since 1970, by the clock when it was last trusted."""
        self.latest_ns = 0
        """The latest time that was ever read or found in the database."""
        self.doubt: str | None = None
        """Why the last check of the clock did not trust it; None if it did, or if there was none yet."""
        self.generation: int | None = None
        """The operator's confirmation under which the last check trusted the clock; None: it never did."""

    def read_ns(self) -> int:
        """Return the time in nanoseconds since 1970: what the clock shows, or should show if it has jumped."""
        shown_ns, expected_ns = self.read_clock_ns(), self.booted_ns + self.read_uptime_ns()
        now_ns = shown_ns if abs(shown_ns - expected_ns) <= MAX_STEP_NS else expected_ns
        if now_ns > self.latest_ns:
            self.latest_ns = now_ns
        return now_ns

    def trust(self, moment: datetime) -> None:
        """Expect the clock to show `moment` now, and to go on from there."""
        self.booted_ns = to_ns(moment) - self.read_uptime_ns()

    def find_doubt(self) -> str | None:
        """Return why the clock is not trusted; None if it is."""
        jump = timedelta(microseconds=(self.read_clock_ns() - self.booted_ns - self.read_uptime_ns()) // 1_000)
        if self.doubt is None and abs(jump) > MAX_STEP:
            return describe_difference(jump, "the time since its last check")
        return self.doubt


machine_clock = MachineClock()


def to_ns(moment: datetime) -> int:
    """Convert to nanoseconds since 1970."""
    return (moment - EPOCH) // timedelta(microseconds=1) * 1_000


def find_doubt() -> str | None:
    """Return why the machine's clock is not trusted, so that nobody may be charged and nothing deleted; else None."""
    return machine_clock.find_doubt()


def wall_time() -> datetime:
    """Return the machine's time; aware UTC. A jump of more than an hour is ignored."""
    return EPOCH + timedelta(microseconds=machine_clock.read_ns() // 1_000)


def wall_time_ms() -> int:
    """Return the machine's time in milliseconds since 1970."""
    return machine_clock.read_ns() // 1_000_000


def set_back_by() -> timedelta:
    """Return by how much the machine's clock is behind the latest time that it has shown; usually nothing.

    What has expired by that time stays expired.
    """
    behind_ns = machine_clock.latest_ns - machine_clock.read_ns()
    return timedelta(microseconds=behind_ns // 1_000) if behind_ns > 0 else NOTHING


def now() -> datetime:
    """Return the time of the current request or job; aware UTC."""
    if frozen := _frozen_now.get():
        return frozen
    if not has_request_context():
        return current_app.extensions["clock"]()
    facts = vars(g._get_current_object())  # the proxy would look it up at each step
    if "now" not in facts:
        facts["now"] = current_app.extensions["clock"]()
    return facts["now"]


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
