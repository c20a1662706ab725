"""The log of database outages: an outage fails many requests and jobs at once, and needs one line per second."""

import logging
import threading
import time

INTERVAL_S = 1.0
_lock = threading.Lock()
_logged_at = float("-inf")


def log_outage(log: logging.Logger, what: str, error: Exception) -> None:
    """Log that the database is unavailable, so that `what` failed, at most once per `INTERVAL_S` in this process."""
    global _logged_at
    with _lock:
        is_due = time.monotonic() - _logged_at >= INTERVAL_S
        if is_due:
            _logged_at = time.monotonic()
    if is_due:
        log.warning("database unavailable: %s (%s)", type(error).__name__, what)
