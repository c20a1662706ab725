"""Refuses to move money while it must not: the clock is not trusted, or a restore is not reconciled."""

from streamsvc import clock
from streamsvc.rules.refusals.requests import ClockNotTrusted, ReconciliationPending
from streamsvc.worker.restore_hold import find_restore_hold


def require_charging_allowed() -> None:
    """Raise ClockNotTrusted or ReconciliationPending if nobody may be charged."""
    if clock.find_doubt():
        raise ClockNotTrusted
    require_reconciled()


def require_reconciled() -> None:
    """Raise ReconciliationPending if the database was restored and not reconciled with the payment provider since."""
    if find_restore_hold():
        raise ReconciliationPending
