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
from streamsvc.storage.database import affected, all_rows, db, is_away, one_row
from streamsvc.storage.unit_of_work import add_rows, later

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LEASE = timedelta(seconds=60)
KEPT = timedelta(days=30)
MOST_ATTEMPTS = 12
MOST_AT_ONCE = 64
"""Jobs in a set: as many as SQLite's one writer does in about 50 ms."""
SHORTEST_BACKOFF = timedelta(seconds=5)
LONGEST_BACKOFF = timedelta(hours=1)

Handler = Callable[[dict, datetime], None]
SetHandler = Callable[[list[dict], datetime], list[dict] | None]
_handlers: dict[str, Handler] = {}
_set_handlers: dict[str, SetHandler] = {}
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


def set_handler(kind: str):
    """Name the function that does many jobs of this kind at once: `f(payloads, now)`.

    It commits, and answers with the payloads of those that are to be done one by one.
    """

    def register(function: SetHandler) -> SetHandler:
        _set_handlers[kind] = function
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
    at = _last_moment(kind, after) + _recurring[kind]
    enqueue(kind, {}, at, dedupe=f"{kind} {at:%Y-%m-%dT%H:%M}")


def _last_moment(kind: str, until: datetime) -> datetime:
    return until - (until - EPOCH) % _recurring[kind]


def put_off(job: sa.Row, until: datetime) -> bool:
    """Have leased recurring work done once by `until`, at the last of its moments there; False where this is that one.

    A worker that was away for days does the same: it finds one run due, not one for each day.
    """
    if job.kind not in _recurring or job.run_at >= (last := _last_moment(job.kind, until)):
        return False
    free = {"run_at": last, "lease": None, "leased_until": None, "attempts": 0}
    affected(sa.update(Job).where(Job.id == job.id, Job.lease == job.lease).values(free))
    return True


def enqueue(kind: str, payload: dict, run_at: datetime, dedupe: str | None = None) -> None:
    """Write a job into the caller's unit of work. Under a `dedupe` name the first one stands and others are dropped."""
    add_rows(Job, [{"kind": kind, "payload": payload, "run_at": run_at, "dedupe": dedupe}], once_by="dedupe")


def withdraw(dedupe: str) -> None:
    """Drop the job under this name, in the caller's unit of work, unless somebody is at it."""
    later(_withdraw_all, dedupe)


def _withdraw_all(names: list[str]) -> None:
    db.session.execute(sa.delete(Job.__table__).where(Job.dedupe.in_(names), Job.lease.is_(None)))


OPEN = sa.and_(Job.done_at.is_(None), Job.failed_at.is_(None))
FREE = sa.and_(OPEN, sa.or_(Job.leased_until.is_(None), Job.leased_until < sa.bindparam("wall")))
DUE = (
    sa.select(Job.id)
    .where(FREE, Job.run_at <= sa.bindparam("until"))
    .order_by(Job.run_at, Job.id)
    .limit(1)
    .with_for_update(skip_locked=True)
)
ALIKE = (
    sa.select(Job.id)
    .where(FREE, Job.run_at == sa.bindparam("run_at_of_first"), Job.kind == sa.bindparam("kind_of_first"))
    .order_by(Job.id)
    .limit(sa.bindparam("most"))
    .with_for_update(skip_locked=True)
)
LEASE_IT = (
    sa.update(Job)
    .values(lease=sa.bindparam("token"), leased_until=sa.bindparam("lease_end"), attempts=Job.attempts + 1)
    .returning(Job.id, Job.kind, Job.payload, Job.run_at, Job.attempts, Job.lease)
)
TAKE = LEASE_IT.where(Job.id == DUE.scalar_subquery())
TAKE_ALIKE = LEASE_IT.where(Job.id.in_(ALIKE))


def take(until: datetime) -> sa.Row | None:
    """Lease the earliest job that is due by `until`; None where there is none."""
    return one_row(TAKE, {"until": until, **_lease()})


def _lease() -> dict:
    wall = clock.wall()
    return {"wall": wall, "lease_end": wall + LEASE, "token": secrets.token_hex(8)}


def take_some(until: datetime, most: int = MOST_AT_ONCE) -> list[sa.Row]:
    """Lease the earliest job that is due by `until` and, where its kind is done in sets, others of its very moment."""
    first = take(until)
    if first is None or first.kind not in _set_handlers or most < 2:
        return [first] if first else []
    alike = {"run_at_of_first": first.run_at, "kind_of_first": first.kind, "most": min(most, MOST_AT_ONCE) - 1}
    return [first, *sorted(all_rows(TAKE_ALIKE, alike | _lease()), key=lambda job: job.id)]


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


def run_some(batch: list[sa.Row], now: datetime) -> int:
    """Do leased jobs of one kind as of `now`, as a set where that is how they are done; how many went well."""
    if batch[0].kind not in _set_handlers:
        return sum(run(job, now) for job in batch)
    try:
        with clock.held(now):
            left = _set_handlers[batch[0].kind]([job.payload for job in batch], now) or []
        singles = [job for job in batch if job.payload in left]
        _finish_all([job for job in batch if job not in singles], now)
    except Exception as error:
        db.session.rollback()
        log.warning("a set of %s is done one by one: %r", batch[0].kind, error, exc_info=not is_away(error))
        singles = batch
    finally:
        db.session.remove()
    return len(batch) - len(singles) + sum(run(job, now) for job in singles)


def _finish_all(batch: list[sa.Row], now: datetime) -> None:
    """Mark those whose lease is still ours; whoever took another finds its work done."""
    ours = sa.and_(Job.id.in_([job.id for job in batch]), Job.lease.in_({job.lease for job in batch}))
    affected(sa.update(Job.__table__).where(ours).values(done_at=now, payload={}))


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
        if spent and job.kind in _recurring:  # what failed today is tried again tomorrow
            schedule_recurring()
    except sa.exc.SQLAlchemyError as away:  # the lease runs out by itself
        log.warning("could not postpone job %s: %r", job.id, away)


def backoff(attempts: int) -> timedelta:
    """How long to wait after so many attempts: doubling, capped, and spread so that failures do not march in step."""
    return min(SHORTEST_BACKOFF * 2 ** (attempts - 1), LONGEST_BACKOFF) * random.uniform(0.75, 1.25)


def run_due(until: datetime, most: int = 1_000) -> int:
    """Do up to `most` jobs due by `until`, earliest first; how many ran."""
    count = 0
    while count < most and (batch := take_some(until, most - count)):
        run_some(batch, clock.now())
        count += len(batch)
    return count


def forget_done(now: datetime) -> int:
    """Drop the jobs that were done longer ago than they are kept; how many. Dead letters stay."""
    return db.session.execute(sa.delete(Job).where(Job.done_at < now - KEPT)).rowcount
