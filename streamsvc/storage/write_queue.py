"""The queue for SQLite's write lock: those who write take turns, the threads of a process and processes alike.

By itself SQLite retries after ever longer pauses, and gives its lock to whoever asks at the right moment. With many
writers some then wait for long, and a process that always has another thread ready leaves nothing to the others. Here
only one thread of all processes waits for the lock of SQLite at a time: the one whose turn it is.
"""

import fcntl
import os
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import sqlalchemy as sa

from streamsvc.storage.fifo_lock import FifoLock

TIMEOUT_S, TURN_TIMEOUT_S, POLL_INTERVAL_S = 5.0, 1.0, 0.0003
"""How long a writer waits for others of its process, and for those of other processes, and how often it looks again."""
FILE_SUFFIX = "-turn"


class WriteQueue:
    """The queue of one database. A file beside it is locked by the process whose turn it is to write next."""

    def __init__(self, database: str | None) -> None:
        self._threads = FifoLock()
        self._path = Path(database + FILE_SUFFIX) if database and Path(database).is_absolute() else None
        self._file: int | None = None

    def acquire(self) -> float:
        """Wait until no other thread of this process writes; returns when to give up, by the monotonic clock.

        Raises sqlalchemy.exc.TimeoutError.
        """
        deadline = time.monotonic() + TIMEOUT_S
        if not self._threads.acquire(TIMEOUT_S):
            raise sa.exc.TimeoutError("too many transactions are waiting to write")
        return deadline

    def release(self) -> None:
        """Let the next thread of this process write."""
        self._threads.release()

    @contextmanager
    def turn(self, deadline: float) -> Iterator[None]:
        """Within the block, the thread that has acquired the queue is the next of all processes to write.

        If it cannot have its turn in time, since a process was stopped in its own, it competes with the others.
        """
        file = self._open()
        if file is None:
            yield
            return
        give_up_at = min(deadline, time.monotonic() + TURN_TIMEOUT_S)
        while not _try_lock(file) and time.monotonic() < give_up_at:
            time.sleep(POLL_INTERVAL_S)
        try:
            yield
        finally:
            fcntl.lockf(file, fcntl.LOCK_UN)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Within the block, this thread may run a single write. Raises sqlalchemy.exc.TimeoutError."""
        deadline = self.acquire()
        try:
            with self.turn(deadline):
                yield
        finally:
            self.release()

    def _open(self) -> int | None:
        """Return the file, which a forked process shares with its parent: the lock on it belongs to one process."""
        if self._file is None and self._path is not None:
            with suppress(OSError):  # another user's, or no space: the turns only make it fair
                self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
                weakref.finalize(self, os.close, self._file)
        return self._file


def _try_lock(file: int) -> bool:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system without locks
    return True
