"""A circuit breaker: after several failures in a row, a service is not called for a while, then tried with one call."""

import threading
from dataclasses import dataclass, field


@dataclass
class CircuitBreaker:
    """Its state is one process's. Times are in seconds of any clock that only moves forward."""

    max_failures: int
    open_s: float
    longest_call_s: float = 0.0
    """The deadline of a call: while the one that tries the service may still be under way, no other one does."""
    failures: int = 0
    opened_at: float = 0.0
    """When the circuit opened: the failure of a call that began before says nothing new."""
    retry_at: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def allows_call(self, now_s: float) -> bool:
        """Whether to call now. While the circuit is open, one call is allowed per `open_s`, to see whether it works."""
        with self.lock:
            if self.failures < self.max_failures:
                return True
            if now_s < self.retry_at:
                return False
            self.retry_at = now_s + max(self.open_s, self.longest_call_s)
            return True

    def record_success(self) -> None:
        """Close the circuit."""
        with self.lock:
            self.failures = 0

    def record_failure(self, started_s: float, now_s: float) -> None:
        """Count the failure of a call; the last allowed one opens the circuit, and that of a trial keeps it open."""
        with self.lock:
            is_open = self.failures >= self.max_failures
            if is_open and started_s < self.opened_at:
                return
            self.failures += 1
            if not is_open:
                self.opened_at = now_s
            self.retry_at = now_s + self.open_s
