"""The daily housekeeping job."""

from datetime import datetime, timedelta

from streamsvc.http import idempotency
from streamsvc.operations.accounts import devices, profiles
from streamsvc.operations.credentials import expiry
from streamsvc.operations.operators import sign_in as operators_sign_in
from streamsvc.operations.outbox import security_events
from streamsvc.operations.sign_in import password
from streamsvc.security import dpop, rate_limits
from streamsvc.worker import jobs


@jobs.recurring_job("housekeeping", every=timedelta(days=1))
def purge_expired_data(payload: dict, now: datetime) -> None:
    """Delete expired idempotency keys, counters, jobs, secrets, sessions, security events, profiles and places."""
    idempotency.purge_old_keys()
    jobs.purge_done_jobs(now)
    rate_limits.purge_old_counters()
    expiry.purge_expired_tokens(now)
    password.purge_old_sessions(now)
    security_events.purge_old_security_events(now)
    profiles.purge_deleted_profiles(now)
    devices.purge_freed_places(now)
    operators_sign_in.purge_old_operator_sessions(now)


@jobs.recurring_job("dpop_proofs.purge", every=timedelta(hours=1))
def purge_used_proofs(payload: dict, now: datetime) -> None:
    """Delete DPoP proofs that are too old to be accepted again."""
    dpop.purge_used_proofs()
