"""The worker: it does the jobs that fall due, one after the other or as a set, until it is told to stop."""

import logging
import random
import threading
import time
from datetime import timedelta

import sqlalchemy as sa
from flask import current_app

from streamsvc import clock
from streamsvc.models import Worker
from streamsvc.operations.sandbox import is_clock_moving
from streamsvc.storage.database import db, execute_write, fetch_one, new_id
from streamsvc.worker import jobs

MIN_PAUSE_S = 0.2
MAX_PAUSE_S = 1.0
WAIT_TIMEOUT_S, POLL_INTERVAL_S = 3, 0.02
HEARTBEAT_INTERVAL = timedelta(seconds=5)
DEAD_AFTER = timedelta(seconds=20)
log = logging.getLogger("streamsvc.worker")


def is_worker_alive() -> bool:
    """Whether some worker was seen just now."""
    return fetch_one(sa.select(Worker.id).where(Worker.seen_at > clock.wall_time() - DEAD_AFTER).limit(1)) is not None


def wait_for_due_jobs() -> None:
    """Wait, not for long, until the workers have done what is due: a mail asked for just before is then out."""
    enough, shown = time.monotonic() + WAIT_TIMEOUT_S, current_app.extensions["clock"]  # which runs on while this waits
    while jobs.find_next_due_job(shown()) and is_worker_alive() and time.monotonic() < enough:
        time.sleep(POLL_INTERVAL_S)


def run_worker(stop: threading.Event) -> None:
    """Do jobs as they fall due until `stop` is set; the job at hand is finished first. Outlives a lost database."""
    signed_on = None
    while not stop.is_set():
        try:
            signed_on = signed_on or _register_worker()
            _record_heartbeat(signed_on)
            if not _run_next_batch():
                stop.wait(random.uniform(MIN_PAUSE_S, MAX_PAUSE_S))
        except sa.exc.SQLAlchemyError as error:
            log.warning("the database is away: %r", error)
            db.session.remove()
            stop.wait(MAX_PAUSE_S)
    if signed_on:
        execute_write(sa.delete(Worker).where(Worker.id == signed_on))


def _register_worker() -> str:
    wall = clock.wall_time()
    execute_write(sa.delete(Worker).where(Worker.seen_at < wall - 10 * DEAD_AFTER))
    worker_id = new_id("wkr")
    execute_write(sa.insert(Worker).values(id=worker_id, started_at=wall, seen_at=wall))
    jobs.schedule_recurring()
    return worker_id


def _record_heartbeat(worker_id: str) -> None:
    wall = clock.wall_time()
    execute_write(
        sa.update(Worker).where(Worker.id == worker_id, Worker.seen_at < wall - HEARTBEAT_INTERVAL).values(seen_at=wall)
    )


def _run_next_batch() -> bool:
    """Do the next due job, or set of jobs; False when there is none.

    Who moves the sandbox's clock does the jobs meanwhile.
    """
    if current_app.extensions["settings"].sandbox and is_clock_moving():
        return False
    batch = jobs.lease_batch(clock.now())
    if batch:
        jobs.run_batch(batch, clock.now())
    return bool(batch)
