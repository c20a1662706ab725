"""The log of database outages: an outage fails many requests and jobs at once, and needs one line per second.

It also remembers for a moment that a write was refused for lack of space.
"""

import logging
import sqlite3
import threading
import time

INTERVAL_S = 1.0
REFUSAL_LASTS_S = 3.0
DISK_FULL = "53100"
"""PostgreSQL's SQLSTATE."""
_lock = threading.Lock()
_logged_at = _refused_at = float("-inf")


def log_outage(log: logging.Logger, what: str, error: Exception) -> None:
    """Log that the database is unavailable, so that `what` failed, at most once per `INTERVAL_S` in this process."""
    global _logged_at, _refused_at
    with _lock:
        if _is_out_of_space(getattr(error, "orig", None)):
            _refused_at = time.monotonic()
        is_due = time.monotonic() - _logged_at >= INTERVAL_S
        if is_due:
            _logged_at = time.monotonic()
    if is_due:
        log.warning("database unavailable: %s (%s)", type(error).__name__, what)


def was_refused_for_space() -> bool:
    """Whether a write of this process found no space within the last seconds.

    A smaller one may succeed meanwhile: PostgreSQL accepts on a full disk what fits into the pages that it has.
    """
    return time.monotonic() - _refused_at < REFUSAL_LASTS_S


def _is_out_of_space(error: BaseException | None) -> bool:
    if isinstance(error, sqlite3.Error):  # those of the Python module itself have no code
        return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL
    return getattr(error, "sqlstate", None) == DISK_FULL
