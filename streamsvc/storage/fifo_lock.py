"""A fair lock: threads acquire it in the order in which they started waiting."""

import threading
from collections import deque


class FifoLock:
    """A lock that is handed to the thread that has waited longest."""

    def __init__(self) -> None:
        self._waiters: deque[threading.Lock] = deque()
        self._guard, self._locked = threading.Lock(), False

    def acquire(self, timeout_s: float) -> bool:
        """Wait up to `timeout_s` for the lock; returns whether it was acquired."""
        with self._guard:
            if not self._locked:
                self._locked = True
                return True
            waiter = threading.Lock()
            waiter.acquire()
            self._waiters.append(waiter)
        if waiter.acquire(timeout=timeout_s):
            return True
        with self._guard:
            if waiter not in self._waiters:  # handed over just after the timeout
                return True
            self._waiters.remove(waiter)
            return False

    def release(self) -> None:
        """Hand the lock to the longest waiting thread, or free it."""
        with self._guard:
            if self._waiters:
                self._waiters.popleft().release()
            else:
                self._locked = False
