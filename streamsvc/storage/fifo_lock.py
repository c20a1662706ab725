"""A lock that is passed on in the order of asking, so that nobody waits longer than those before."""

import threading
from collections import deque


class FifoLock:
    """One thread at a time has the turn; the others queue."""

    def __init__(self):
        self._guard, self._waiters, self._locked = threading.Lock(), deque(), False

    def acquire(self, timeout_s: float) -> bool:
        """Wait for the turn; whether it came in time."""
        with self._guard:
            if not self._locked:
                self._locked = True
                return True
            mine = threading.Lock()
            mine.acquire()
            self._waiters.append(mine)
        if mine.acquire(timeout=timeout_s):
            return True
        with self._guard:
            if mine not in self._waiters:  # it came just now
                return True
            self._waiters.remove(mine)
            return False

    def release(self) -> None:
        """Give the turn to who asked next."""
        with self._guard:
            if self._waiters:
                self._waiters.popleft().release()
            else:
                self._locked = False
