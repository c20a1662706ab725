"""A lock that is passed on in the order of asking, so that nobody waits longer than those before."""

import threading
from collections import deque


class Turns:
    """One thread at a time has the turn; the others queue."""

    def __init__(self):
        self._guard, self._queue, self._taken = threading.Lock(), deque(), False

    def wait(self, longest_s: float) -> bool:
        """Wait for the turn; whether it came in time."""
        with self._guard:
            if not self._taken:
                self._taken = True
                return True
            mine = threading.Lock()
            mine.acquire()
            self._queue.append(mine)
        if mine.acquire(timeout=longest_s):
            return True
        with self._guard:
            if mine not in self._queue:  # it came just now
                return True
            self._queue.remove(mine)
            return False

    def pass_on(self) -> None:
        """Give the turn to who asked next."""
        with self._guard:
            if self._queue:
                self._queue.popleft().release()
            else:
                self._taken = False
