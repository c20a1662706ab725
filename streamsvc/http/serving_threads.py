"""Threads that serve requests; on SQLite one at a time, as long as it is quick.

On PostgreSQL all of them serve: one waits for the database's server while another has Python's lock.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

PATIENCE_S = 0.005
BUSY_SHARE = 0.5
"""Of a core: a process that shares it with another still counts as busy."""
log = logging.getLogger("streamsvc")


class Turns:
    """Lets one of several threads that take requests from the same queue serve them, as long as it is quick.

    Threads that serve short requests side by side cost more than the requests: they wake each other up for Python's
    lock. So a thread that has served a request sleeps here if another one is there to take the next. Once all that
    are awake have been serving for `PATIENCE_S`, because the disk does not respond, say, one more is woken; and one for
    each request that waits, as `count_waiting` says, while the process does not use its core.
    """

    def __init__(self, count_waiting: Callable[[], int] = lambda: 0) -> None:
        self.count_waiting = count_waiting
        self.is_busy = False
        """Whether the process used its core when that was looked at last."""
        self.lock = threading.Lock()
        self.awake: set[int] = set()
        self.serving: dict[int, float] = {}
        """Since when each thread has been serving its request."""
        self.sleeping: list[tuple[int, threading.Lock]] = []
        self.has_begun = threading.Event()
        self.is_stopping = False
        threading.Thread(target=self._watch, name="turns", daemon=True).start()

    def begin(self) -> None:
        """Note that this thread serves a request."""
        thread = threading.get_ident()
        self.awake.add(thread)
        self.serving[thread] = time.monotonic()
        if not self.has_begun.is_set():
            self.has_begun.set()

    def end(self) -> None:
        """Note that this thread has served its request, and sleep if another thread is there for the next."""
        thread = threading.get_ident()
        del self.serving[thread]
        if len(self.awake) == 1 or (not self.is_busy and self.count_waiting()):
            return
        sleep = threading.Lock()
        sleep.acquire()
        with self.lock:
            if self.is_stopping or not self._is_any_free(self.awake - {thread}):
                return
            self.awake.remove(thread)
            self.sleeping.append((thread, sleep))
        sleep.acquire()  # until somebody wakes it

    def stop(self) -> None:
        """Wake all threads; from now on none sleeps."""
        with self.lock:
            self.is_stopping = True
            while self.sleeping:
                self._wake()

    def _is_any_free(self, threads: set[int]) -> bool:
        """Whether one of the threads waits for a request, or may soon."""
        now = time.monotonic()
        return any(now - self.serving.get(thread, now) <= PATIENCE_S for thread in threads)

    def _wake(self) -> None:
        thread, sleep = self.sleeping.pop()
        self.awake.add(thread)
        sleep.release()

    def _watch(self) -> None:
        while True:
            self.has_begun.wait()
            self.has_begun.clear()
            started, used_s = time.monotonic(), time.process_time()
            time.sleep(PATIENCE_S)
            self.is_busy = time.process_time() - used_s > BUSY_SHARE * (time.monotonic() - started)
            with self.lock:
                wanted = 0 if self._is_any_free(set(self.awake)) else 1
                if not self.is_busy:
                    wanted = max(wanted, self.count_waiting())
                for _ in range(min(wanted, len(self.sleeping))):
                    self._wake()


class ServingThreads:
    """Threads that serve what is submitted: without the future, and its lock, that Python's pool makes for each task.

    `takes_turns`: one thread serves as long as it is quick.
    """

    def __init__(self, count: int, serve: Callable[[Any], None], takes_turns: bool) -> None:
        self.queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.submit = self.queue.put
        self.turns = Turns(self.queue.qsize) if takes_turns else None
        self.threads = [threading.Thread(target=self._run, args=(serve,), daemon=True) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def _run(self, serve: Callable[[Any], None]) -> None:
        while (task := self.queue.get()) is not None:
            if self.turns:
                self.turns.begin()
            try:
                serve(task)
            except Exception:
                log.exception("a request was not served")
            if self.turns:
                self.turns.end()

    def shutdown(self, wait: bool = False) -> None:
        """Let the threads end when they have served what was submitted; `wait`: until they have."""
        if self.turns:
            self.turns.stop()
        for _ in self.threads:
            self.queue.put(None)
        for thread in self.threads if wait else ():
            thread.join()
