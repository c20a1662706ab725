"""The hold after a restore: nobody is charged or refunded until the books are reconciled with the payment provider.

Each process reads it from the database whenever it checks its clock, and before it charges anybody for the first time.
"""

from datetime import datetime

from flask import current_app

from streamsvc.models import Restore
from streamsvc.storage.database import fetch_one, format_utc

EXTENSION = "restore_hold"


def refresh_restore_hold() -> str | None:
    """Read the hold from the database for this process; return why nobody is charged, or None."""
    row = fetch_one(Restore.select_open())
    taken_at: datetime | None = row[0] if row else None
    reason = None
    if taken_at is not None:
        backup = f"a backup of {format_utc(taken_at)}"
        reason = f"the database was restored from {backup} and is not reconciled with the payment provider"
    current_app.extensions[EXTENSION] = reason
    return reason


def find_restore_hold() -> str | None:
    """Return why nobody is charged, as this process last read it; None if there is no hold."""
    return current_app.extensions.get(EXTENSION)
