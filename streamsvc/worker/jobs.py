"""Work for later: a row written in the transaction of its cause, done by a worker exactly once.

What a job was about is forgotten once it is done: it may name a person.

A handler runs inside a unit of work (`db.session`) that the runner commits together with the mark that the job is
done: its effects in this database happen once. What it does outside can happen twice if the machine dies in between,
so a handler that calls the outside world records first and sends under an idempotency key.

Jobs of one kind that fall due at the same moment may be done as a set, by a handler of their own that does twice what
it did once without harm: it commits as it goes, and the jobs are marked after it. A set that fails is done one by one.
"""

import logging
import random
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from streamsvc import clock
from streamsvc.models import Job
from streamsvc.storage.database import db, execute_write, fetch_all, fetch_one, is_unavailable
from streamsvc.storage.unit_of_work import add_rows, defer

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LEASE = timedelta(seconds=60)
RETENTION_PERIOD = timedelta(days=30)
MAX_ATTEMPTS = 12
MAX_BATCH_SIZE = 64
"""Jobs in a set: as many as SQLite's one writer does in about 50 ms."""
MIN_BACKOFF = timedelta(seconds=5)
MAX_BACKOFF = timedelta(hours=1)

Handler = Callable[[dict, datetime], None]
BatchHandler = Callable[[list[dict], datetime], list[dict] | None]
_handlers: dict[str, Handler] = {}
_batch_handlers: dict[str, BatchHandler] = {}
_recurring: dict[str, timedelta] = {}
log = logging.getLogger("streamsvc.jobs")


class Retry(Exception):
    """Raised by a handler that wants to run again at `at`; what it did so far in the unit of work is kept."""

    def __init__(self, at: datetime):
        super().__init__(str(at))
        self.at = at


def job_handler(kind: str):
    """Name the function that does jobs of this kind: `f(payload, now)`, `now` being when the job takes place."""

    def register(function: Handler) -> Handler:
        _handlers[kind] = function
        return function

    return register


def batch_job_handler(kind: str):
    """Name the function that does many jobs of this kind at once: `f(payloads, now)`.

    It commits, and answers with the payloads of those that are to be done one by one.
    """

    def register(function: BatchHandler) -> BatchHandler:
        _batch_handlers[kind] = function
        return function

    return register


def recurring_job(kind: str, every: timedelta):
    """Name the function that does this kind of work again and again, at whole multiples of `every`."""
    _recurring[kind] = every
    return job_handler(kind)


def schedule_recurring() -> None:
    """Make sure that each kind of recurring work has its next run; commits."""
    now = clock.now()
    for kind in _recurring:
        _schedule_next(kind, now)
    db.session.commit()


def _schedule_next(kind: str, after: datetime) -> None:
    at = _latest_run_time(kind, after) + _recurring[kind]
    enqueue_job(kind, {}, at, dedupe=f"{kind} {at:%Y-%m-%dT%H:%M}")


def _latest_run_time(kind: str, until: datetime) -> datetime:
    return until - (until - EPOCH) % _recurring[kind]


def postpone_recurring_job(job: sa.Row, until: datetime) -> bool:
    """Have leased recurring work done once by `until`, at the last of its moments there; False where this is that one.

    A worker that was away for days does the same: it finds one run due, not one for each day.
    """
    if job.kind not in _recurring or job.run_at >= (last := _latest_run_time(job.kind, until)):
        return False
    free = {"run_at": last, "lease": None, "leased_until": None, "attempts": 0}
    execute_write(sa.update(Job).where(Job.id == job.id, Job.lease == job.lease).values(free))
    return True


def enqueue_job(kind: str, payload: dict, run_at: datetime, dedupe: str | None = None) -> None:
    """Write a job into the caller's unit of work. Under a `dedupe` name the first one stands and others are dropped."""
    add_rows(Job, [{"kind": kind, "payload": payload, "run_at": run_at, "dedupe": dedupe}], unique_by="dedupe")


def cancel_job(dedupe: str) -> None:
    """Drop the job under this name, in the caller's unit of work, unless somebody is at it."""
    defer(_cancel_jobs, dedupe)


def _cancel_jobs(names: list[str]) -> None:
    db.session.execute(sa.delete(Job.__table__).where(Job.dedupe.in_(names), Job.lease.is_(None)))


IS_OPEN = sa.and_(Job.done_at.is_(None), Job.failed_at.is_(None))
IS_LEASABLE = sa.and_(IS_OPEN, sa.or_(Job.leased_until.is_(None), Job.leased_until < sa.bindparam("wall")))
NEXT_DUE = (
    sa.select(Job.id)
    .where(IS_LEASABLE, Job.run_at <= sa.bindparam("until"))
    .order_by(Job.run_at, Job.id)
    .limit(1)
    .with_for_update(skip_locked=True)
)
SAME_KIND_AND_TIME = (
    sa.select(Job.id)
    .where(IS_LEASABLE, Job.run_at == sa.bindparam("run_at_of_first"), Job.kind == sa.bindparam("kind_of_first"))
    .order_by(Job.id)
    .limit(sa.bindparam("most"))
    .with_for_update(skip_locked=True)
)
LEASE_JOBS = (
    sa.update(Job)
    .values(lease=sa.bindparam("token"), leased_until=sa.bindparam("lease_end"), attempts=Job.attempts + 1)
    .returning(Job.id, Job.kind, Job.payload, Job.run_at, Job.attempts, Job.lease)
)
LEASE_NEXT = LEASE_JOBS.where(Job.id == NEXT_DUE.scalar_subquery())
LEASE_SAME_KIND_AND_TIME = LEASE_JOBS.where(Job.id.in_(SAME_KIND_AND_TIME))


def lease_next_job(until: datetime) -> sa.Row | None:
    """Lease the earliest job that is due by `until`; None where there is none."""
    return fetch_one(LEASE_NEXT, {"until": until, **_lease_parameters()})


def _lease_parameters() -> dict:
    wall = clock.wall_time()
    return {"wall": wall, "lease_end": wall + LEASE, "token": secrets.token_hex(8)}


def lease_batch(until: datetime, max_jobs: int = MAX_BATCH_SIZE) -> list[sa.Row]:
    """Lease the earliest job that is due by `until` and, where its kind is done in sets, others of its very moment."""
    first = lease_next_job(until)
    if first is None or first.kind not in _batch_handlers or max_jobs < 2:
        return [first] if first else []
    alike = {"run_at_of_first": first.run_at, "kind_of_first": first.kind, "most": min(max_jobs, MAX_BATCH_SIZE) - 1}
    return [first, *sorted(fetch_all(LEASE_SAME_KIND_AND_TIME, alike | _lease_parameters()), key=lambda job: job.id)]


def find_next_due_job(until: datetime) -> sa.Row | None:
    """The earliest open job that is due by `until`, leased or not."""
    return fetch_one(
        sa.select(Job.id, Job.run_at).where(IS_OPEN, Job.run_at <= until).order_by(Job.run_at, Job.id).limit(1)
    )


def run_job(job: sa.Row, now: datetime) -> bool:
    """Do one leased job as of `now`; True when it is done or has asked to run again. Never raises for its failure."""
    try:
        with clock.frozen_at(now):
            _handlers[job.kind](job.payload, now)
            if job.kind in _recurring:
                _schedule_next(job.kind, now)
            _complete_job(job, done_at=now, payload={})
        return True
    except Retry as again:
        _complete_job(job, run_at=again.at, lease=None, leased_until=None, attempts=0)
        return True
    except Exception as error:
        db.session.rollback()
        log.warning("job failed: %s %s: %r", job.kind, job.id, error, exc_info=not is_unavailable(error))
        _retry_later(job, now, error)
        return False
    finally:
        db.session.remove()


def run_batch(batch: list[sa.Row], now: datetime) -> int:
    """Do leased jobs of one kind as of `now`, as a set where that is how they are done; how many went well."""
    if batch[0].kind not in _batch_handlers:
        return sum(run_job(job, now) for job in batch)
    try:
        with clock.frozen_at(now):
            left = _batch_handlers[batch[0].kind]([job.payload for job in batch], now) or []
        singles = [job for job in batch if job.payload in left]
        _complete_batch([job for job in batch if job not in singles], now)
    except Exception as error:
        db.session.rollback()
        log.warning("a set of %s is done one by one: %r", batch[0].kind, error, exc_info=not is_unavailable(error))
        singles = batch
    finally:
        db.session.remove()
    return len(batch) - len(singles) + sum(run_job(job, now) for job in singles)


def _complete_batch(batch: list[sa.Row], now: datetime) -> None:
    """Mark those whose lease is still ours; whoever took another finds its work done."""
    ours = sa.and_(Job.id.in_([job.id for job in batch]), Job.lease.in_({job.lease for job in batch}))
    execute_write(sa.update(Job.__table__).where(ours).values(done_at=now, payload={}))


def _complete_job(job: sa.Row, **values) -> None:
    """Commit the handler's work together with its mark; if the lease is no longer ours, neither."""
    result = db.session.execute(sa.update(Job).where(Job.id == job.id, Job.lease == job.lease).values(**values))
    if result.rowcount != 1:
        raise RuntimeError("the lease ran out while the job ran")
    db.session.commit()


def _retry_later(job: sa.Row, now: datetime, error: Exception) -> None:
    spent = job.attempts >= MAX_ATTEMPTS
    values = {"lease": None, "leased_until": None, "last_error": repr(error)[:500]}
    values |= {"failed_at": now} if spent else {"run_at": now + compute_backoff(job.attempts)}
    try:
        execute_write(sa.update(Job).where(Job.id == job.id, Job.lease == job.lease).values(**values))
        if spent and job.kind in _recurring:  # what failed today is tried again tomorrow
            schedule_recurring()
    except sa.exc.SQLAlchemyError as away:  # the lease runs out by itself
        log.warning("could not postpone job %s: %r", job.id, away)


def compute_backoff(attempts: int) -> timedelta:
    """How long to wait after so many attempts: doubling, capped, and spread so that failures do not march in step."""
    return min(MIN_BACKOFF * 2 ** (attempts - 1), MAX_BACKOFF) * random.uniform(0.75, 1.25)


def run_due_jobs(until: datetime, max_jobs: int = 1_000) -> int:
    """Do up to `most` jobs due by `until`, earliest first; how many ran."""
    count = 0
    while count < max_jobs and (batch := lease_batch(until, max_jobs - count)):
        run_batch(batch, clock.now())
        count += len(batch)
    return count


def purge_done_jobs(now: datetime) -> int:
    """Drop the jobs that were done longer ago than they are kept; how many. Dead letters stay."""
    return db.session.execute(sa.delete(Job).where(Job.done_at < now - RETENTION_PERIOD)).rowcount
