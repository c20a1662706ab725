"""What is kept for a time only, and what is looked after every day."""

from datetime import datetime, timedelta

from streamsvc.http import idempotency
from streamsvc.operations.credentials import expiry
from streamsvc.operations.operators import sign_in as operators_sign_in
from streamsvc.operations.sign_in import password
from streamsvc.security import rate_limits
from streamsvc.worker import jobs


@jobs.recurring("housekeeping", every=timedelta(days=1))
def forget(payload: dict, now: datetime) -> None:
    """Drop old idempotency keys, throttles that count for nothing, jobs done and sessions ended long ago."""
    idempotency.forget_old()
    jobs.forget_done(now)
    rate_limits.forget_old()
    expiry.forget_expired(now)
    password.forget_old(now)
    operators_sign_in.forget_old(now)
