"""The worker: runs due jobs, each lane in threads of its own, until it is stopped."""

import logging
import random
import threading
import time
from collections.abc import Callable

import sqlalchemy as sa
from flask import Flask, current_app

from streamsvc import clock
from streamsvc.models import Worker
from streamsvc.operations import account_clocks
from streamsvc.operations.maintenance import clock_check
from streamsvc.operations.sandbox import is_clock_moving
from streamsvc.settings import current_settings
from streamsvc.storage.database import db, execute_write, fetch_one, is_unavailable, new_id
from streamsvc.storage.durability import Relaxed
from streamsvc.storage.leases import database_time
from streamsvc.storage.outage_log import log_outage
from streamsvc.worker import jobs
from streamsvc.worker.restore_hold import find_restore_hold, refresh_restore_hold

MIN_PAUSE_S = 0.2
MAX_PAUSE_S = 1.0
WAIT_TIMEOUT_S, POLL_INTERVAL_S = 3, 0.02
HEARTBEAT_INTERVAL_S, DEAD_AFTER_S = 5.0, 20.0
PAUSED_LANES = (jobs.DEFAULT_LANE, jobs.BULK_LANE)
"""Renewals, payments and what deletes: they wait while the clock is not trusted, or a restore is not reconciled."""
log = logging.getLogger("streamsvc.worker")


def is_worker_alive() -> bool:
    """Whether any worker sent a heartbeat within `DEAD_AFTER_S`, by the database's clock."""
    oldest, newest = database_time(sa.literal(-DEAD_AFTER_S)), database_time(sa.literal(DEAD_AFTER_S))
    is_alive = Worker.seen_at.between(oldest, newest)  # a later one is from before the clock was set back
    return fetch_one(sa.select(Worker.id).where(is_alive).limit(1)) is not None


def wait_for_due_jobs() -> None:
    """Wait up to `WAIT_TIMEOUT_S` until the workers have run all due jobs, for example to send a mail just enqueued."""
    deadline = time.monotonic() + WAIT_TIMEOUT_S
    read_clock = current_app.extensions["clock"]  # clock.now() does not change during a request
    while jobs.find_next_due_job(read_clock()) and is_worker_alive() and time.monotonic() < deadline:
        time.sleep(POLL_INTERVAL_S)


def run_worker(stop: threading.Event, on_ready: Callable[[], None] = lambda: None) -> None:
    """Run due jobs, those of each lane in threads of its own, until `stop` is set; jobs in progress are finished first.

    The calling thread only sends heartbeats and checks the clock, so that no long job makes the worker look dead. While
    the database is unavailable, all keep retrying. `on_ready` is called after the first heartbeat.
    """
    clock_check.require_check()
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    lanes = [lane for lane, count in jobs.THREADS_BY_LANE.items() for _ in range(count)]
    threads = [
        threading.Thread(target=_run_lane, args=(app, lane, stop), name=f"jobs: {lane}", daemon=True) for lane in lanes
    ]
    for thread in threads:
        thread.start()
    worker_id, is_doubted = None, True
    while not stop.is_set():
        try:
            was_doubted = is_doubted
            refresh_restore_hold()
            is_doubted = clock_check.check_clock() is not None
            if was_doubted and not is_doubted:  # also at the start
                jobs.pull_back_jobs()
            if worker_id is None:
                worker_id = _register_worker()
                on_ready()
            _record_heartbeat(worker_id)
        except sa.exc.SQLAlchemyError as error:
            log_outage(log, "heartbeat", error)
        finally:
            db.session.remove()
        stop.wait(HEARTBEAT_INTERVAL_S)
    for thread in threads:
        thread.join()
    if worker_id:
        execute_write(sa.delete(Worker).where(Worker.id == worker_id))


def _run_lane(app: Flask, lane: str, stop: threading.Event) -> None:
    """Run the due jobs of a lane, one at a time or in batches, until `stop` is set."""
    with app.app_context():
        while not stop.is_set():
            try:
                if (lane in PAUSED_LANES and _is_paused()) or not _run_next_batch(lane):
                    stop.wait(random.uniform(MIN_PAUSE_S, MAX_PAUSE_S))
            except Exception as error:  # a lane that ended would leave its jobs undone
                if is_unavailable(error):
                    log_outage(log, f"lane {lane}", error)
                else:
                    log.warning("lane %s: %r", lane, error, exc_info=True)
                db.session.remove()
                stop.wait(MAX_PAUSE_S)


def _is_paused() -> bool:
    return clock.find_doubt() is not None or find_restore_hold() is not None


def _register_worker() -> str:
    """Register this worker, delete workers that died long ago, and schedule the recurring jobs; the worker's id."""
    oldest, newest = database_time(sa.literal(-10 * DEAD_AFTER_S)), database_time(sa.literal(10 * DEAD_AFTER_S))
    execute_write(sa.delete(Worker).where(~Worker.seen_at.between(oldest, newest)))
    worker_id, now = new_id("wkr"), database_time(sa.literal(0.0))
    execute_write(sa.insert(Worker).values(id=worker_id, started_at=now, seen_at=now))
    jobs.schedule_recurring()
    return worker_id


def _record_heartbeat(worker_id: str) -> None:
    now = database_time(sa.literal(0.0))
    execute_write(sa.update(Worker).where(Worker.id == worker_id).values(seen_at=now), relaxed=Relaxed.WORKER_HEARTBEAT)


def _run_next_batch(lane: str) -> bool:
    """Run the next due job or batch of a lane; False if there is none.

    While the sandbox's clock is being moved, the request that moves it runs the jobs.
    """
    if current_settings().sandbox and is_clock_moving():
        return False
    batch = jobs.lease_batch(clock.now(), lane=lane)
    if batch:
        jobs.run_batch(batch, clock.now())
    return bool(batch) or (current_settings().sandbox and account_clocks.continue_moves(clock.now()) > 0)
