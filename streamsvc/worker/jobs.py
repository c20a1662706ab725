"""The job queue: a job is a row written in the transaction of its cause, and run by a worker until it succeeds.

The payload of a finished job is cleared, since it may name a person.

A handler runs in the `db.session` transaction that also marks the job as done, so its effects on this database happen
exactly once. Its effects elsewhere may happen twice if the machine fails in between; a handler that calls an external
service therefore records the call first and sends it with an idempotency key. Its lease is renewed while it runs. A job
whose process dies `MAX_ATTEMPTS` times has failed, like one that raises as often.

Jobs of one kind that are due at the same time can be run as a batch, by a batch handler that must be idempotent: it
commits as it goes, and the jobs are marked as done afterwards. If a batch fails, its jobs are run one by one.

A worker runs each lane in threads of its own: a webhook receiver that hangs delays no mail, and an import no renewal.
"""

import logging
import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from blinker import Signal

from streamsvc import clock
from streamsvc.models import Job
from streamsvc.storage import leases
from streamsvc.storage.chunked_writes import delete_in_chunks
from streamsvc.storage.database import (
    batching_session,
    db,
    execute_in_session,
    execute_write,
    fetch_all,
    fetch_one,
    fetch_relaxed,
    is_unavailable,
)
from streamsvc.storage.durability import Relaxed
from streamsvc.storage.outage_log import log_outage
from streamsvc.tracing import open_span
from streamsvc.worker.restore_hold import find_restore_hold

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
RETENTION_PERIOD = timedelta(days=30)
MAX_ATTEMPTS = 12
MAX_BATCH_SIZE = 64
"""Jobs per batch: as many as SQLite's single writer runs in about 50 ms."""
DEFAULT_LANE, INTERACTIVE_LANE, WEBHOOK_LANE, BULK_LANE = "default", "interactive", "webhooks", "bulk"
"""Interactive: what a person is waiting for, such as a mail. Bulk: long work on many rows, and work of no hurry."""
THREADS_BY_LANE = {DEFAULT_LANE: 1, INTERACTIVE_LANE: 3, WEBHOOK_LANE: 2, BULK_LANE: 1}
MIN_BACKOFF = timedelta(seconds=5)
MAX_BACKOFF = timedelta(hours=1)
CLOCK_TOLERANCE = timedelta(hours=1)

Handler = Callable[[dict, datetime], None]
BatchHandler = Callable[[list[dict], datetime], list[dict] | None]
_handlers: dict[str, Handler] = {}
_batch_handlers: dict[str, BatchHandler] = {}
_recurring: dict[str, timedelta] = {}
_lanes: dict[str, str] = {}
"""{kind: lane}"""
log = logging.getLogger("streamsvc.jobs")
job_failed = Signal()
"""Sent when the last attempt of a job has failed, with its row and `failed_at`, in the transaction that records it."""


class Retry(Exception):
    """Raised by a handler to run again at `at`; what it has written in the transaction so far is committed.

    It then has all its attempts, unless nothing was attempted: then it has as many as before.
    """

    def __init__(self, at: datetime, was_attempted: bool = True):
        super().__init__(str(at))
        self.at, self.was_attempted = at, was_attempted


def job_handler(kind: str, lane: str = DEFAULT_LANE) -> Callable[[Handler], Handler]:
    """Register the function that runs jobs of this kind: `f(payload, now)`, where `now` is the time of the job."""

    def register(function: Handler) -> Handler:
        _handlers[kind], _lanes[kind] = function, lane
        return function

    return register


def batch_job_handler(kind: str) -> Callable[[BatchHandler], BatchHandler]:
    """Register the function that runs several jobs of this kind at once: `f(payloads, now)`.

    It commits, and returns the payloads of those jobs that must be run one by one.
    """

    def register(function: BatchHandler) -> BatchHandler:
        _batch_handlers[kind] = function
        return function

    return register


def recurring_job(kind: str, every: timedelta, lane: str = BULK_LANE) -> Callable[[Handler], Handler]:
    """Register the function that runs this kind of work periodically, at whole multiples of `every`."""
    _recurring[kind] = every
    return job_handler(kind, lane)


def schedule_recurring() -> None:
    """Enqueue the next run of each kind of recurring job, unless it is enqueued already; commits."""
    now = clock.now()
    for kind in _recurring:
        _schedule_next(kind, now)
    db.session.commit()


def _schedule_next(kind: str, after: datetime) -> None:
    run_at = _latest_run_time(kind, after) + _recurring[kind]
    enqueue_job(kind, {}, run_at, dedupe=f"{kind} {run_at:%Y-%m-%dT%H:%M}")


def _latest_run_time(kind: str, until: datetime) -> datetime:
    """Return the last run time of a recurring kind that is not after `until`."""
    return until - (until - EPOCH) % _recurring[kind]


def pull_back_jobs() -> None:
    """Schedule anew the recurring jobs and retries that a clock too far ahead has scheduled. Reads all open jobs."""
    now = clock.now()
    latest_retry = now + 2 * MAX_BACKOFF + CLOCK_TOLERANCE
    is_recurring = sa.and_(Job.kind.in_(_recurring), Job.run_at > now + CLOCK_TOLERANCE)
    is_late_retry = sa.and_(Job.attempts > 0, Job.run_at > latest_retry)
    candidates = sa.select(Job.id, Job.kind, Job.run_at, Job.attempts).where(
        IS_LEASABLE, Job.clock_owner.is_(None), sa.or_(is_recurring, is_late_retry)
    )
    for job in fetch_all(candidates):
        if job.kind in _recurring and job.run_at > now + _recurring[job.kind] + CLOCK_TOLERANCE:
            run_at = _latest_run_time(job.kind, now) + _recurring[job.kind]
        elif job.attempts and job.run_at > latest_retry:
            run_at = now
        else:
            continue
        is_same = sa.and_(Job.id == job.id, Job.run_at == job.run_at, IS_LEASABLE)
        execute_write(sa.update(Job.__table__).where(is_same).values(run_at=run_at))


def postpone_recurring_job(job: sa.Row, until: datetime) -> bool:
    """Skip a leased recurring job ahead to its last run time up to `until`; returns False if it is already there.

    This matches a worker that was down for days: it finds one run due, not one per day.
    """
    if job.kind not in _recurring or job.run_at >= (run_at := _latest_run_time(job.kind, until)):
        return False
    values = {"run_at": run_at, "lease": None, "leased_until": None, "attempts": 0}
    execute_write(sa.update(Job).where(Job.id == job.id, Job.lease == job.lease).values(values))
    return True


def enqueue_job(kind: str, payload: dict, run_at: datetime, dedupe: str | None = None) -> None:
    """Add a job in the caller's transaction. If a job with the same `dedupe` name exists, the new one is dropped."""
    lane = _lanes.get(kind, DEFAULT_LANE)
    row = {"kind": kind, "lane": lane, "payload": payload, "run_at": run_at, "dedupe": dedupe}
    row["clock_owner"] = clock.clock_owner()
    batching_session().insert_rows(Job, [row], unique_by="dedupe")


def cancel_job(dedupe: str) -> None:
    """Delete the job with this `dedupe` name in the caller's transaction, unless a worker has leased it."""
    batching_session().collect(_cancel_jobs, dedupe)


def _cancel_jobs(names: list[str]) -> None:
    db.session.execute(sa.delete(Job.__table__).where(Job.dedupe.in_(names), Job.lease.is_(None)))


IS_OPEN = sa.and_(Job.done_at.is_(None), Job.failed_at.is_(None))
IS_LEASABLE = sa.and_(IS_OPEN, leases.is_free(Job.leased_until))
FIRST_DUE = (
    sa.select(Job.id, Job.run_at)
    .where(IS_OPEN, Job.run_at <= sa.bindparam("until"))
    .order_by(Job.run_at, Job.id)
    .limit(1)
)
FIRST_DUE_OF_ACCOUNT = FIRST_DUE.where(Job.clock_owner == sa.bindparam("owner"))
DUE = sa.select(Job.id).where(IS_LEASABLE, Job.run_at <= sa.bindparam("until"))
NEXT_DUE = DUE.order_by(Job.run_at, Job.id).limit(1).with_for_update(skip_locked=True)
NEXT_DUE_IN_LANE = NEXT_DUE.where(Job.lane == sa.bindparam("lane_of_job"))
SAME_KIND_AND_TIME = (
    sa.select(Job.id)
    .where(IS_LEASABLE, Job.run_at == sa.bindparam("run_at_of_first"), Job.kind == sa.bindparam("kind_of_first"))
    .where(Job.attempts == 0)  # a job that may have killed its process runs alone
    .order_by(Job.id)
    .limit(sa.bindparam("max_jobs"))
    .with_for_update(skip_locked=True)
)
LEASE_JOBS = (
    sa.update(Job)
    .values(lease=sa.bindparam("token"), leased_until=leases.lease_end(), attempts=Job.attempts + 1)
    .returning(Job.id, Job.kind, Job.payload, Job.run_at, Job.attempts, Job.lease, Job.clock_owner, Job.lane)
)
LEASE_NEXT = LEASE_JOBS.where(Job.id == NEXT_DUE.scalar_subquery())
LEASE_NEXT_IN_LANE = LEASE_JOBS.where(Job.id == NEXT_DUE_IN_LANE.scalar_subquery())
LEASE_NEXT_OF_ACCOUNT = LEASE_JOBS.where(
    Job.id
    == sa.select(Job.id)
    .where(IS_LEASABLE, Job.clock_owner == sa.bindparam("owner"), Job.run_at <= sa.bindparam("until"))
    .order_by(Job.run_at, Job.id)
    .limit(1)
    .with_for_update(skip_locked=True)
    .scalar_subquery()
)
LEASE_SAME_KIND_AND_TIME = LEASE_JOBS.where(Job.id.in_(SAME_KIND_AND_TIME))


def lease_next_job(until: datetime, lane: str | None = None) -> sa.Row | None:
    """Lease the earliest job due by `until`, of any lane or the given one; None if there is none."""
    parameters = {"until": until, "token": leases.new_token()}
    if lane is None:
        return _lease(LEASE_NEXT, parameters)
    return _lease(LEASE_NEXT_IN_LANE, parameters | {"lane_of_job": lane})


def lease_job_of_account(owner: str, until: datetime) -> sa.Row | None:
    """Lease the earliest job due by `until` on the account's sandbox clock; None if there is none."""
    return _lease(LEASE_NEXT_OF_ACCOUNT, {"owner": owner, "until": until, "token": leases.new_token()})


def _lease(statement: sa.Update, parameters: dict[str, Any]) -> sa.Row | None:
    """Lease the job that the statement chooses. What the job does is durable, and with it that it was leased."""
    return next(iter(fetch_relaxed(statement, parameters, Relaxed.LEASE)), None)


def lease_batch(until: datetime, max_jobs: int = MAX_BATCH_SIZE, lane: str | None = None) -> list[sa.Row]:
    """Lease the earliest job due by `until` and, if its kind has a batch handler, others of the same kind and time."""
    first = lease_next_job(until, lane)
    if first is None:
        return []
    is_alone = first.kind not in _batch_handlers or first.clock_owner or first.attempts > 1
    if is_alone or max_jobs < 2:
        return [first]
    parameters = {
        "run_at_of_first": first.run_at,
        "kind_of_first": first.kind,
        "max_jobs": min(max_jobs, MAX_BATCH_SIZE) - 1,
        "token": leases.new_token(),
    }
    return [first, *sorted(fetch_relaxed(LEASE_SAME_KIND_AND_TIME, parameters, Relaxed.LEASE), key=lambda job: job.id)]


def find_next_due_job(until: datetime, clock_owner: str | None = None) -> sa.Row | None:
    """Find the earliest open job due by `until`, leased or not; None if there is none.

    `clock_owner`: of those that run by the sandbox clock of this account.
    """
    if clock_owner is None:
        return fetch_one(FIRST_DUE, {"until": until})
    return fetch_one(FIRST_DUE_OF_ACCOUNT, {"until": until, "owner": clock_owner})


def run_job(job: sa.Row, now: datetime) -> bool:
    """Run one leased job as of `now`. Returns True if it is done or asked to run again.

    A failure is recorded, not raised. A job of an account with a sandbox clock runs by that clock.
    """
    if job.attempts > MAX_ATTEMPTS:
        _retry_later(job, now, RuntimeError(f"the process died {MAX_ATTEMPTS} times while it ran this job"))
        return False
    now = clock.account_now(job.clock_owner, now) if job.clock_owner else now
    try:
        with open_span(f"job {job.kind}"), clock.frozen_at(now, job.clock_owner), _renewed([job]):
            _find_handler(job.kind)(job.payload, now)
            if job.kind in _recurring:
                _schedule_next(job.kind, now)
            _complete_job(job, done_at=now, payload={})
        return True
    except Retry as retry:
        attempts = 0 if retry.was_attempted else job.attempts - 1
        _complete_job(job, run_at=retry.at, lease=None, leased_until=None, attempts=attempts)
        return True
    except Exception as error:
        db.session.rollback()
        _log_failure(f"job failed: {job.kind} {job.id}", error)
        _retry_later(job, now, error)
        return False
    finally:
        db.session.remove()


def run_batch(batch: list[sa.Row], now: datetime) -> int:
    """Run leased jobs of one kind as of `now`, as a batch if the kind has a batch handler.

    Returns how many succeeded.
    """
    is_alone = batch[0].attempts > 1 or any(job.clock_owner for job in batch)
    if batch[0].kind not in _batch_handlers or is_alone:
        return sum(run_job(job, now) for job in batch)
    try:
        with open_span(f"jobs {batch[0].kind}", jobs=len(batch)), clock.frozen_at(now), _renewed(batch):
            remaining = _batch_handlers[batch[0].kind]([job.payload for job in batch], now) or []
        singles = [job for job in batch if job.payload in remaining]
        _complete_batch([job for job in batch if job not in singles], now)
    except Exception as error:
        db.session.rollback()
        _log_failure(f"batch of {batch[0].kind} failed, running its jobs one by one", error)
        singles = batch
    finally:
        db.session.remove()
    return len(batch) - len(singles) + sum(run_job(job, now) for job in singles)


def _find_handler(kind: str) -> Handler:
    """Find the function that runs jobs of this kind. Raises LookupError: another release has enqueued it."""
    if kind not in _handlers:
        raise LookupError(f"this release has no handler for jobs of the kind {kind}")
    return _handlers[kind]


def _renewed(batch: list[sa.Row]) -> AbstractContextManager[None]:
    return leases.renewed(Job.__table__, [(job.id, job.lease) for job in batch])


def _complete_batch(batch: list[sa.Row], now: datetime) -> None:
    """Mark the jobs whose lease is still ours as done.

    A worker that has leased one of the others finds its work done.
    """
    is_leased_by_us = sa.and_(Job.id.in_([job.id for job in batch]), Job.lease.in_({job.lease for job in batch}))
    execute_write(sa.update(Job.__table__).where(is_leased_by_us).values(done_at=now, payload={}))


def _complete_job(job: sa.Row, **values: Any) -> None:
    """Commit the handler's work together with the job's new state. Raises RuntimeError if the lease is lost."""
    completion = sa.update(Job).where(Job.id == job.id, Job.lease == job.lease).values(**values)
    if execute_in_session(completion) != 1:
        raise RuntimeError("the lease expired while the job ran")
    db.session.commit()


def _retry_later(job: sa.Row, now: datetime, error: Exception) -> None:
    """Schedule a failed job's next attempt; after the last one, mark it as failed.

    An attempt while the machine's clock is not trusted, or charging is on hold after a restore, does not count.
    """
    is_paused = clock.find_doubt() is not None or find_restore_hold() is not None
    is_exhausted = job.attempts >= MAX_ATTEMPTS and not is_paused
    values: dict[str, Any] = {"lease": None, "leased_until": None, "last_error": repr(error)[:500]}
    values |= {"failed_at": now} if is_exhausted else {"run_at": now + compute_backoff(job.attempts)}
    values |= {"attempts": job.attempts - 1} if is_paused else {}
    update = sa.update(Job).where(Job.id == job.id, Job.lease == job.lease).values(**values)
    try:
        if not is_exhausted:
            execute_write(update)
            return
        if execute_in_session(update):
            job_failed.send(job, failed_at=now)
        db.session.commit()
        if job.kind in _recurring:  # the next period gets a new attempt
            schedule_recurring()
    except sa.exc.SQLAlchemyError as database_error:  # the job is free again when its lease expires
        db.session.rollback()
        _log_failure(f"could not postpone {job.kind} {job.id}", database_error)


def _log_failure(what: str, error: Exception) -> None:
    """Log a failure with its traceback; one of many in a database outage only once a second."""
    if is_unavailable(error):
        log_outage(log, what, error)
    else:
        log.warning("%s: %r", what, error, exc_info=error)


def compute_backoff(attempts: int) -> timedelta:
    """Compute the wait after this many attempts: doubling, capped, with 25 % jitter."""
    return min(MIN_BACKOFF * 2 ** (attempts - 1), MAX_BACKOFF) * random.uniform(0.75, 1.25)


def run_due_jobs(until: datetime, max_jobs: int = 1_000) -> int:
    """Run up to `max_jobs` jobs due by `until`, earliest first. Returns how many ran."""
    count = 0
    while count < max_jobs and (batch := lease_batch(until, max_jobs - count)):
        run_batch(batch, clock.now())
        count += len(batch)
    return count


def purge_done_jobs(now: datetime) -> int:
    """Delete jobs that were done more than `RETENTION_PERIOD` ago, in chunks; failed jobs stay. Returns how many."""
    return delete_in_chunks(Job.done_at, Job.done_at < now - RETENTION_PERIOD, among=(Job.done_at.is_not(None),))
