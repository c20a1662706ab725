"""The worker's loop: runs due jobs, one at a time or in batches, until it is stopped."""

import logging
import random
import threading
import time
from datetime import timedelta

import sqlalchemy as sa
from flask import current_app

from streamsvc import clock
from streamsvc.models import Worker
from streamsvc.operations import account_clocks
from streamsvc.operations.sandbox import is_clock_moving
from streamsvc.settings import current_settings
from streamsvc.storage.database import db, execute_write, fetch_one, new_id
from streamsvc.worker import jobs

MIN_PAUSE_S = 0.2
MAX_PAUSE_S = 1.0
WAIT_TIMEOUT_S, POLL_INTERVAL_S = 3, 0.02
HEARTBEAT_INTERVAL = timedelta(seconds=5)
DEAD_AFTER = timedelta(seconds=20)
log = logging.getLogger("streamsvc.worker")


def is_worker_alive() -> bool:
    """Whether any worker sent a heartbeat within `DEAD_AFTER`."""
    return fetch_one(sa.select(Worker.id).where(Worker.seen_at > clock.wall_time() - DEAD_AFTER).limit(1)) is not None


def wait_for_due_jobs() -> None:
    """Wait up to `WAIT_TIMEOUT_S` until the workers have run all due jobs, for example to send a mail just enqueued."""
    deadline = time.monotonic() + WAIT_TIMEOUT_S
    read_clock = current_app.extensions["clock"]  # clock.now() does not change during a request
    while jobs.find_next_due_job(read_clock()) and is_worker_alive() and time.monotonic() < deadline:
        time.sleep(POLL_INTERVAL_S)


def run_worker(stop: threading.Event) -> None:
    """Run due jobs until `stop` is set; a job in progress is finished first.

    While the database is unavailable, it keeps retrying.
    """
    worker_id = None
    while not stop.is_set():
        try:
            worker_id = worker_id or _register_worker()
            _record_heartbeat(worker_id)
            if not _run_next_batch():
                stop.wait(random.uniform(MIN_PAUSE_S, MAX_PAUSE_S))
        except sa.exc.SQLAlchemyError as error:
            log.warning("database unavailable: %r", error)
            db.session.remove()
            stop.wait(MAX_PAUSE_S)
    if worker_id:
        execute_write(sa.delete(Worker).where(Worker.id == worker_id))


def _register_worker() -> str:
    """Register this worker, delete workers that died long ago, and schedule the recurring jobs; the worker's id."""
    now = clock.wall_time()
    execute_write(sa.delete(Worker).where(Worker.seen_at < now - 10 * DEAD_AFTER))
    worker_id = new_id("wkr")
    execute_write(sa.insert(Worker).values(id=worker_id, started_at=now, seen_at=now))
    jobs.schedule_recurring()
    return worker_id


def _record_heartbeat(worker_id: str) -> None:
    now = clock.wall_time()
    is_due = (Worker.id == worker_id, Worker.seen_at < now - HEARTBEAT_INTERVAL)
    execute_write(sa.update(Worker).where(*is_due).values(seen_at=now))


def _run_next_batch() -> bool:
    """Run the next due job or batch; False if there is none.

    While the sandbox's clock is being moved, the request that moves it runs the jobs.
    """
    if current_settings().sandbox and is_clock_moving():
        return False
    batch = jobs.lease_batch(clock.now())
    if batch:
        jobs.run_batch(batch, clock.now())
    return bool(batch) or (current_settings().sandbox and account_clocks.continue_moves(clock.now()) > 0)
