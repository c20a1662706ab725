"""Which subscriptions open the doors, and which take the account's one place."""

LIVE_STATUSES = ("incomplete", "trialing", "active", "past_due", "paused")
STATUSES = (*LIVE_STATUSES, "canceled")
ACCESS_STATUSES = ("trialing", "active", "past_due")


def gives_access(status, access_until, now):
    """Whether one may watch: by status, and until `access_until` where an end is known (a cancellation, a grace)."""
    return status in ACCESS_STATUSES and (access_until is None or now < access_until)
