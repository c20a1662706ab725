"""Work for later: a row written in the transaction of its cause, done by a worker exactly once.

What a job was about is forgotten once it is done: it may name a person.

A handler runs inside a unit of work (`db.session`) that the runner commits together with the mark that the job is
done: its effects in this database happen once. What it does outside can happen twice if the machine dies in between,
so a handler that calls the outside world records first and sends under an idempotency key.
"""

import logging
import random
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from streamsvc import clock
from streamsvc.database import affected, db, insert, is_away, one_row
from streamsvc.models import Job

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LEASE = timedelta(seconds=60)
KEPT = timedelta(days=30)
MOST_ATTEMPTS = 12
SHORTEST_BACKOFF = timedelta(seconds=5)
LONGEST_BACKOFF = timedelta(hours=1)

Handler = Callable[[dict, datetime], None]
_handlers: dict[str, Handler] = {}
_recurring: dict[str, timedelta] = {}
log = logging.getLogger("streamsvc.jobs")


class Retry(Exception):
    """Raised by a handler that wants to run again at `at`; what it did so far in the unit of work is kept."""

    def __init__(self, at: datetime):
        super().__init__(str(at))
        self.at = at


def handler(kind: str):
    """Name the function that does jobs of this kind: `f(payload, now)`, `now` being when the job takes place."""

    def register(function: Handler) -> Handler:
        _handlers[kind] = function
        return function

    return register


def recurring(kind: str, every: timedelta):
    """Name the function that does this kind of work again and again, at whole multiples of `every`."""
    _recurring[kind] = every
    return handler(kind)


def schedule_recurring() -> None:
    """Make sure that each kind of recurring work has its next run; commits."""
    now = clock.now()
    for kind in _recurring:
        _schedule_next(kind, now)
    db.session.commit()


def _schedule_next(kind: str, after: datetime) -> None:
    every = _recurring[kind]
    at = after + every - (after - EPOCH) % every
    enqueue(kind, {}, at, dedupe=f"{kind} {at:%Y-%m-%dT%H:%M}")


def enqueue(kind: str, payload: dict, run_at: datetime, dedupe: str | None = None) -> None:
    """Write a job into the caller's unit of work. Under a `dedupe` name the first one stands and others are dropped."""
    row = {"kind": kind, "payload": payload, "run_at": run_at, "dedupe": dedupe}
    db.session.execute(insert(Job).values(row).on_conflict_do_nothing(index_elements=["dedupe"]))


OPEN = sa.and_(Job.done_at.is_(None), Job.failed_at.is_(None))
DUE = (
    sa.select(Job.id)
    .where(OPEN, Job.run_at <= sa.bindparam("until"))
    .where(sa.or_(Job.leased_until.is_(None), Job.leased_until < sa.bindparam("wall")))
    .order_by(Job.run_at, Job.id)
    .limit(1)
    .with_for_update(skip_locked=True)
)
TAKE = (
    sa.update(Job)
    .where(Job.id == DUE.scalar_subquery())
    .values(lease=sa.bindparam("token"), leased_until=sa.bindparam("lease_end"), attempts=Job.attempts + 1)
    .returning(Job.id, Job.kind, Job.payload, Job.run_at, Job.attempts, Job.lease)
)


def take(until: datetime) -> sa.Row | None:
    """Lease the earliest job that is due by `until`; None where there is none."""
    wall = clock.wall()
    return one_row(TAKE, {"until": until, "wall": wall, "lease_end": wall + LEASE, "token": secrets.token_hex(8)})


def next_due(until: datetime) -> sa.Row | None:
    """The earliest open job that is due by `until`, leased or not."""
    return one_row(sa.select(Job.id, Job.run_at).where(OPEN, Job.run_at <= until).order_by(Job.run_at, Job.id).limit(1))


def run(job: sa.Row, now: datetime) -> bool:
    """Do one leased job as of `now`; True when it is done or has asked to run again. Never raises for its failure."""
    try:
        with clock.held(now):
            _handlers[job.kind](job.payload, now)
            if job.kind in _recurring:
                _schedule_next(job.kind, now)
            _finish(job, done_at=now, payload={})
        return True
    except Retry as again:
        _finish(job, run_at=again.at, lease=None, leased_until=None, attempts=0)
        return True
    except Exception as error:
        db.session.rollback()
        log.warning("job failed: %s %s: %r", job.kind, job.id, error, exc_info=not is_away(error))
        _postpone(job, now, error)
        return False
    finally:
        db.session.remove()


def _finish(job: sa.Row, **values) -> None:
    """Commit the handler's work together with its mark; if the lease is no longer ours, neither."""
    result = db.session.execute(sa.update(Job).where(Job.id == job.id, Job.lease == job.lease).values(**values))
    if result.rowcount != 1:
        raise RuntimeError("the lease ran out while the job ran")
    db.session.commit()


def _postpone(job: sa.Row, now: datetime, error: Exception) -> None:
    spent = job.attempts >= MOST_ATTEMPTS
    values = {"lease": None, "leased_until": None, "last_error": repr(error)[:500]}
    values |= {"failed_at": now} if spent else {"run_at": now + backoff(job.attempts)}
    try:
        affected(sa.update(Job).where(Job.id == job.id, Job.lease == job.lease).values(**values))
    except sa.exc.SQLAlchemyError as away:  # the lease runs out by itself
        log.warning("could not postpone job %s: %r", job.id, away)


def backoff(attempts: int) -> timedelta:
    """How long to wait after so many attempts: doubling, capped, and spread so that failures do not march in step."""
    return min(SHORTEST_BACKOFF * 2 ** (attempts - 1), LONGEST_BACKOFF) * random.uniform(0.75, 1.25)


def run_due(until: datetime, most: int = 1_000) -> int:
    """Do up to `most` jobs due by `until`, earliest first; how many ran."""
    for count in range(most):
        job = take(until)
        if job is None:
            return count
        run(job, clock.now())
    return most


def forget_done(now: datetime) -> int:
    """Drop the jobs that were done longer ago than they are kept; how many. Dead letters stay."""
    return db.session.execute(sa.delete(Job).where(Job.done_at < now - KEPT)).rowcount
