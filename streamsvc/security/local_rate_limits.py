"""Rate limits within one process, in memory: for reads, which write nothing to the database.

Each process counts for itself, so a subject has the limit once per process. The number of subjects is bounded; beyond
it, the one that was counted longest ago is forgotten.
"""

import threading
from collections import OrderedDict

from streamsvc.rules.rate_limits import RateLimit
from streamsvc.rules.refusals.accounts import TooManyAttempts

MAX_SUBJECTS = 20_000


class LocalRateLimits:
    """Counters of a process, by rule and subject."""

    def __init__(self, max_subjects: int = MAX_SUBJECTS) -> None:
        self._max_subjects = max_subjects
        self._counters: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()
        """(the end of the window, the count), the counter that was used last at the end."""
        self._lock = threading.Lock()

    def hit(self, rule: RateLimit, subject: str, now_s: float) -> None:
        """Count one attempt of `subject`. Raises TooManyAttempts if none is left."""
        wait_s = self._count(rule, subject, now_s, 1)
        if wait_s:
            raise TooManyAttempts(int(wait_s))

    def try_hit(self, rule: RateLimit, subject: str, now_s: float) -> bool:
        """Count one attempt of `subject`, if one is left; return whether it was."""
        return not self._count(rule, subject, now_s, 1)

    def test(self, rule: RateLimit, subject: str, now_s: float) -> bool:
        """Return whether `subject` has an attempt left."""
        return not self._count(rule, subject, now_s, 0)

    def _count(self, rule: RateLimit, subject: str, now_s: float, attempts: int) -> float:
        """Count attempts if one is left; return the seconds until the next if none is, else 0."""
        key = (rule.name, subject)
        with self._lock:
            until_s, count = self._counters.pop(key, (0.0, 0))
            if not now_s < until_s <= now_s + rule.window_s:  # over, or begun before the clock was set back
                until_s, count = now_s + rule.window_s, 0
            is_allowed = count < rule.max_attempts
            self._counters[key] = until_s, count + attempts * is_allowed
            while len(self._counters) > self._max_subjects:
                self._counters.popitem(last=False)
        return 0.0 if is_allowed else until_s - now_s
