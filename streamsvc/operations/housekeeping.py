"""What is kept for a time only, and what is looked after every day."""

from datetime import datetime, timedelta

from streamsvc import idempotency, jobs, throttle
from streamsvc.operations import secrets


@jobs.recurring("housekeeping", every=timedelta(days=1))
def forget(payload: dict, now: datetime) -> None:
    """Drop old idempotency keys, throttles that count for nothing, and jobs done long ago."""
    idempotency.forget_old()
    jobs.forget_done(now)
    throttle.forget_old()
    secrets.forget_expired(now)
