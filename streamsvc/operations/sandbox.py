"""The sandbox's clock: it runs on from where it was set. Moving it runs all jobs that fall due, in order of time."""

import time
from datetime import datetime, timedelta

import sqlalchemy as sa
from flask import current_app

from streamsvc import clock
from streamsvc.models import SandboxClock
from streamsvc.rules.refusals.sandbox import ClockIsMoving, ClockMovesForward
from streamsvc.storage.database import db, execute_write, fetch_one, insert
from streamsvc.worker import jobs

MICROSECOND = timedelta(microseconds=1)
MOVE_LEASE = timedelta(seconds=30)
CLOCK_QUERY = sa.select(SandboxClock.offset_us, SandboxClock.moving_until).where(SandboxClock.id == 1)


def sandbox_now() -> datetime:
    """The current time of the sandbox. Starts at STREAMSVC_SANDBOX_CLOCK if set, else at the wall clock."""
    found, at = fetch_one(CLOCK_QUERY), current_app.extensions["settings"].sandbox_clock
    if not found and not at:
        return clock.wall_time()
    offset_us = found.offset_us if found else _start_clock(at)
    return clock.wall_time() + offset_us * MICROSECOND  # read last, so that a new clock never shows an earlier time


def _start_clock(at: datetime | None) -> int:
    offset = (at - clock.wall_time()) // MICROSECOND if at else 0
    start = insert(SandboxClock).values(id=1, offset_us=offset).on_conflict_do_nothing(index_elements=["id"])
    if db.session().in_transaction():  # on SQLite a second connection could not write now
        db.session.execute(start)
    else:
        execute_write(start)
    found = fetch_one(CLOCK_QUERY)
    return found.offset_us if found else offset


def is_clock_moving() -> bool:
    """Whether the clock is being moved: workers then leave the jobs to the mover."""
    found = fetch_one(CLOCK_QUERY)
    return bool(found and found.moving_until and found.moving_until > clock.wall_time())


def move_clock(to: datetime) -> int:
    """Move the clock to `to`, run each job at the moment it falls due, and return the number of jobs run.

    Raises ClockMovesForward, or ClockIsMoving if another request is moving it.
    """
    before, wall = sandbox_now(), clock.wall_time()
    if not fetch_one(CLOCK_QUERY):
        _start_clock(None)
    still = sa.or_(SandboxClock.moving_until.is_(None), SandboxClock.moving_until < wall)
    if not execute_write(
        sa.update(SandboxClock).where(SandboxClock.id == 1, still).values(moving_until=wall + MOVE_LEASE)
    ):
        raise ClockIsMoving
    try:
        if to < before:
            raise ClockMovesForward
        jobs.schedule_recurring()
        ran = _run_jobs_until(to)
        _set_clock(to)
        return ran
    finally:
        execute_write(sa.update(SandboxClock).values(moving_until=None))


def _run_jobs_until(to: datetime) -> int:
    ran, shown = 0, sandbox_now()
    while jobs.find_next_due_job(to):
        batch = jobs.lease_batch(to)
        if not batch:  # a worker that started before the move still holds it
            time.sleep(0.02)
            _set_clock(shown)
            continue
        if jobs.postpone_recurring_job(batch[0], to):
            continue
        shown = max(shown, batch[0].run_at)
        if shown == batch[0].run_at or ran == 0:
            _set_clock(shown)
        jobs.run_batch(batch, shown)
        ran += len(batch)
    return ran


def _set_clock(moment: datetime) -> None:
    """Set the clock to `moment` and renew the lease for moving it."""
    wall = clock.wall_time()
    execute_write(
        sa.update(SandboxClock)
        .where(SandboxClock.id == 1)
        .values(offset_us=(moment - wall) // MICROSECOND, moving_until=wall + MOVE_LEASE)
    )
