"""A machine whose clock a test sets, and processes that run on it."""

import time
from datetime import timedelta

from streamsvc import clock


class Machine:
    """Starts at the present, like the database's server; time passes when the test says so."""

    def __init__(self):
        self.shown_ns, self.uptime_ns = time.time_ns(), 10**12

    def pass_time(self, **by):
        self.shown_ns += to_ns(**by)
        self.uptime_ns += to_ns(**by)

    def set_clock(self, **by):
        """Set the clock ahead or back, while the uptime goes on."""
        self.shown_ns += to_ns(**by)

    def start_process(self):
        """The clock of a new process."""
        return clock.MachineClock(lambda: self.shown_ns, lambda: self.uptime_ns)


def to_ns(**by):
    return timedelta(**by) // timedelta(microseconds=1) * 1_000
