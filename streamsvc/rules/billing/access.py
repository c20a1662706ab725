"""Subscription statuses: which give access, and which count as the account's one live subscription."""

from datetime import datetime

LIVE_STATUSES = ("incomplete", "trialing", "active", "past_due", "paused")
STATUSES = (*LIVE_STATUSES, "canceled")
ACCESS_STATUSES = ("trialing", "active", "past_due")


def gives_access(status: str, access_until: datetime | None, now: datetime) -> bool:
    """Return whether the subscription gives access: by status, and before `access_until` if an end is known.

    A cancellation or the grace period of a failed payment sets `access_until`.
    """
    return status in ACCESS_STATUSES and (access_until is None or now < access_until)
