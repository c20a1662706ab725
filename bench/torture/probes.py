"""Clients that send one request after the other, and note when each response came."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.torture.clients import request
from bench.torture.core import percentile


@dataclass(frozen=True)
class Response:
    """A response; `status` is 0 if there was none. Times are time.monotonic()."""

    path: str
    started: float
    ended: float
    status: int

    @property
    def elapsed_s(self) -> float:
        return self.ended - self.started


class Probes:
    """One client for each of the requests, given as (method, path, body, token)."""

    def __init__(self, port: int, *requests: tuple, pause_s: float = 0.02, timeout_s: float = 30) -> None:
        self.port, self.pause_s, self.timeout_s = port, pause_s, timeout_s
        self.responses: list[Response] = []
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=one) for one in requests]

    def _run(self, method: str, path: str, body=None, token: str | None = None) -> None:
        while not self.stopping.wait(self.pause_s):
            started = time.monotonic()
            status, _ = request(self.port, method, path, body, token, timeout_s=self.timeout_s)
            self.responses.append(Response(path, started, time.monotonic(), status))

    @contextmanager
    def running(self) -> Iterator["Probes"]:
        for thread in self.threads:
            thread.start()
        try:
            yield self
        finally:
            self.stopping.set()
            for thread in self.threads:
                thread.join()

    def between(self, path: str, started: float, ended: float) -> list[Response]:
        """The responses to requests that were sent within these times."""
        return [r for r in self.responses if r.path == path and started <= r.started < ended]

    def during(self, path: str, started: float, ended: float) -> list[Response]:
        """The responses to requests that were under way within these times."""
        return [r for r in self.responses if r.path == path and r.ended >= started and r.started < ended]

    def recovery_s(self, path: str, moment: float, status: int = 200) -> float:
        """Seconds from the moment to the first response with this status to a request sent since; or infinite."""
        ended = [r.ended for r in self.responses if r.path == path and r.started >= moment and r.status == status]
        return min(ended) - moment if ended else float("inf")


def describe(responses: list[Response]) -> str:
    """Responses by status, how long the slowest took, and to which request."""
    if not responses:
        return "none"
    statuses = Counter(response.status for response in responses)
    words = ", ".join(f"{count} × {status or 'no response'}" for status, count in sorted(statuses.items()))
    slowest = max(responses, key=lambda response: response.elapsed_s)
    p99_s = percentile([response.elapsed_s for response in responses], 0.99)
    return f"{words}; p99 {p99_s:.2f} s, slowest {slowest.elapsed_s:.2f} s ({slowest.path})"
