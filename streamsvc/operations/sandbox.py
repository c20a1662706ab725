"""The sandbox's clock: it runs on from where it was set. Moving it runs all jobs that fall due, in order of time."""

import time
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from streamsvc import clock
from streamsvc.gateways.peers import lift_call_budget
from streamsvc.models import SandboxClock
from streamsvc.rules.refusals.sandbox import ClockIsMoving, ClockMovesForward
from streamsvc.settings import current_settings
from streamsvc.storage.database import db, execute_write, fetch_one, insert
from streamsvc.worker import jobs

MICROSECOND = timedelta(microseconds=1)
MOVE_LEASE = timedelta(seconds=30)
CLOCK_QUERY = sa.select(SandboxClock.offset_us, SandboxClock.moving_until).where(SandboxClock.id == 1)


def sandbox_now() -> datetime:
    """Return the sandbox's current time, which starts at STREAMSVC_SANDBOX_CLOCK if set, else at the wall clock."""
    row, start = fetch_one(CLOCK_QUERY), current_settings().sandbox_clock
    if not row and not start:
        return clock.wall_time()
    offset_us = row.offset_us if row else _start_clock(start)
    return clock.wall_time() + offset_us * MICROSECOND  # read last, so that a new clock never shows an earlier time


def _start_clock(start: datetime | None) -> int:
    """Start the clock at `start`, or at the wall clock, unless it runs already. Returns its offset in microseconds."""
    offset_us = (start - clock.wall_time()) // MICROSECOND if start else 0
    statement = insert(SandboxClock).values(id=1, offset_us=offset_us).on_conflict_do_nothing(index_elements=["id"])
    if db.session().in_transaction():  # on SQLite a second connection could not write now
        db.session.execute(statement)
    else:
        execute_write(statement)
    row = fetch_one(CLOCK_QUERY)
    return row.offset_us if row else offset_us


def is_clock_moving() -> bool:
    """Return whether a request is moving the clock; workers then leave the jobs to it."""
    row = fetch_one(CLOCK_QUERY)
    wall = clock.wall_time()
    return bool(row and row.moving_until and wall < row.moving_until <= wall + 2 * MOVE_LEASE)


def is_move_over(moving_until: Any) -> sa.ColumnElement[bool]:
    """Return the condition that no request moves a clock. A move that ends too late began before a jump back."""
    wall = clock.wall_time()
    return sa.or_(moving_until.is_(None), ~moving_until.between(wall, wall + 2 * MOVE_LEASE))


def move_clock(to: datetime) -> int:
    """Move the clock to `to`, run each job at the moment it falls due, and return the number of jobs run.

    Raises ClockMovesForward, or ClockIsMoving if another request is moving it.
    """
    before, wall = sandbox_now(), clock.wall_time()
    if not fetch_one(CLOCK_QUERY):
        _start_clock(None)
    is_free = is_move_over(SandboxClock.moving_until)
    if not execute_write(
        sa.update(SandboxClock).where(SandboxClock.id == 1, is_free).values(moving_until=wall + MOVE_LEASE)
    ):
        raise ClockIsMoving
    try:
        if to < before:
            raise ClockMovesForward
        jobs.schedule_recurring()
        jobs_run = _run_jobs_until(to)
        _set_clock(to)
        return jobs_run
    finally:
        execute_write(sa.update(SandboxClock).values(moving_until=None))


def _run_jobs_until(to: datetime) -> int:
    """Run the jobs due up to `to`, setting the clock to the due time of each. Returns the number of jobs run."""
    lift_call_budget()
    jobs_run, now = 0, sandbox_now()
    while jobs.find_next_due_job(to):
        batch = jobs.lease_batch(to)
        if not batch:  # a worker that started before the move still holds it
            time.sleep(0.02)
            _set_clock(now)
            continue
        if jobs.postpone_recurring_job(batch[0], to):
            continue
        now = max(now, batch[0].run_at)
        if now == batch[0].run_at or jobs_run == 0:
            _set_clock(now)
        jobs.run_batch(batch, now)
        jobs_run += len(batch)
    return jobs_run


def _set_clock(moment: datetime) -> None:
    """Set the clock to `moment` and renew the lease for moving it."""
    wall = clock.wall_time()
    execute_write(
        sa.update(SandboxClock)
        .where(SandboxClock.id == 1)
        .values(offset_us=(moment - wall) // MICROSECOND, moving_until=wall + MOVE_LEASE)
    )
