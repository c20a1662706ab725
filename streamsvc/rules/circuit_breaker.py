"""A circuit breaker: after several failures in a row, a service is not called for a while, then tried with one call."""

import threading
from dataclasses import dataclass, field


@dataclass
class CircuitBreaker:
    """Its state is one process's. Times are in seconds of any clock that only moves forward."""

    max_failures: int
    open_s: float
    failures: int = 0
    retry_at: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def allows_call(self, now_s: float) -> bool:
        """Whether to call now. While the circuit is open, one call is allowed per `open_s`, to see whether it works."""
        with self.lock:
            if self.failures < self.max_failures:
                return True
            if now_s < self.retry_at:
                return False
            self.retry_at = now_s + self.open_s
            return True

    def record_success(self) -> None:
        """Close the circuit."""
        with self.lock:
            self.failures = 0

    def record_failure(self, now_s: float) -> None:
        """Count a failure; the last allowed one opens the circuit."""
        with self.lock:
            self.failures += 1
            self.retry_at = now_s + self.open_s
