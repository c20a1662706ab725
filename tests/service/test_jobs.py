"""Jobs run exactly once, in order of their due time, are retried with back-off, and are kept if they fail for good."""

import json
import subprocess
import sys
import threading
import time
from datetime import timedelta

import pytest
import sqlalchemy as sa

from streamsvc import clock
from streamsvc.models import Job, Worker
from streamsvc.operations.maintenance.worker_loop import is_worker_alive, run_worker
from streamsvc.storage.database import db, execute_write, fetch_all
from streamsvc.worker import jobs
from tests.worlds.plans import query_plan

completed = []


@jobs.job_handler("test note")
def record_note(payload, now):
    db.session.add(Worker(id=payload["id"], started_at=now, seen_at=now))
    if payload.get("fails"):
        raise ValueError("as requested")


@pytest.fixture
def context(app):
    with app.app_context():
        yield app


def enqueue(*ids, after_s=0, **payload):
    for number, name in enumerate(ids):
        jobs.enqueue_job("test note", {"id": name, **payload}, clock.now() + timedelta(seconds=after_s + number))
    db.session.commit()


def completed_ids():
    return [row.id for row in fetch_all(sa.select(Worker.id).order_by(Worker.started_at, Worker.id))]


def only_job():
    return fetch_all(sa.select(Job.__table__))[0]


def test_a_job_enqueued_in_a_failed_transaction_does_not_exist(context):
    jobs.enqueue_job("test note", {"id": "a"}, clock.now())
    db.session.rollback()
    assert jobs.run_due_jobs(clock.now()) == 0


def test_a_job_waits_until_it_is_due(context):
    enqueue("a", after_s=60)
    assert jobs.run_due_jobs(clock.now()) == 0
    context.extensions["clock"].advance(seconds=60)
    assert (jobs.run_due_jobs(clock.now()), completed_ids()) == (1, ["a"])


def test_a_dedupe_name_exists_once_even_after_its_job_is_done(context):
    for _ in range(2):
        jobs.enqueue_job("test note", {"id": "a"}, clock.now(), dedupe="only once")
        db.session.commit()
        jobs.run_due_jobs(clock.now())
    assert len(fetch_all(sa.select(Job.id))) == 1


def test_a_failed_job_has_no_effect_and_runs_again_later(context):
    enqueue("a", fails=True)
    jobs.run_due_jobs(clock.now())
    job = only_job()
    assert completed_ids() == []
    assert (job.done_at, job.attempts, job.last_error) == (None, 1, "ValueError('as requested')")
    assert timedelta(seconds=3) < job.run_at - clock.now() < timedelta(seconds=7)


def test_a_job_that_always_fails_is_kept_as_failed(context):
    enqueue("a", fails=True)
    for _ in range(jobs.MAX_ATTEMPTS + 3):
        jobs.run_due_jobs(clock.now())
        context.extensions["clock"].advance(hours=2)
    assert only_job().failed_at is not None
    assert only_job().attempts == jobs.MAX_ATTEMPTS


def test_the_wait_doubles_and_is_capped():
    waits = [jobs.compute_backoff(n) for n in range(1, 13)]
    assert all(late > early for early, late in zip(waits[:6], waits[2:8], strict=True))
    assert max(waits) <= 1.25 * jobs.MAX_BACKOFF


def end_leases():
    execute_write(sa.update(Job).values(leased_until=clock.wall_time() - timedelta(seconds=1)))


def test_a_worker_that_lost_its_lease_has_no_effect(context):
    enqueue("a")
    lost_job = jobs.lease_next_job(clock.now())
    assert jobs.lease_next_job(clock.now()) is None
    end_leases()
    leased_job = jobs.lease_next_job(clock.now())
    assert lost_job.id == leased_job.id
    assert not jobs.run_job(lost_job, clock.now())
    assert completed_ids() == []
    assert jobs.run_job(leased_job, clock.now())
    assert completed_ids() == ["a"]


def test_a_job_that_kills_its_process_is_given_up(context):
    """Each attempt leases the job, and never finishes it. Another job, due at the same time, is not harmed."""
    enqueue("deadly")
    for _ in range(jobs.MAX_ATTEMPTS):
        assert len(jobs.lease_batch(clock.now())) == 1
        end_leases()
    assert only_job().failed_at is None
    enqueue("harmless")
    assert jobs.run_due_jobs(clock.now()) == 2
    failed, done = fetch_all(sa.select(Job.__table__).order_by(Job.id))
    assert (failed.failed_at is not None, "died 12 times" in failed.last_error, done.done_at is not None) == (True,) * 3
    assert completed_ids() == ["harmless"]


def test_four_concurrent_workers_run_each_job_exactly_once(context):
    enqueue(*(f"job{n:03}" for n in range(200)), after_s=-1000)

    def work():
        with context.app_context():
            completed.append(jobs.run_due_jobs(clock.now()))

    completed.clear()
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(completed) == 200
    assert len(completed_ids()) == 200
    assert fetch_all(sa.select(Job.id).where(Job.done_at.is_(None))) == []


def test_a_recurring_job_always_has_exactly_one_next_run(context):
    for _ in range(3):
        jobs.schedule_recurring()
        jobs.run_due_jobs(clock.now())
        context.extensions["clock"].advance(days=1)
    waiting = fetch_all(sa.select(Job.run_at).where(Job.kind == "housekeeping", Job.done_at.is_(None)))
    assert len(waiting) == 1


def test_a_recurring_job_that_failed_for_good_still_has_a_next_run(context, monkeypatch):
    monkeypatch.setitem(jobs._handlers, "housekeeping", lambda *_: 1 / 0)
    monkeypatch.setattr(jobs, "MAX_ATTEMPTS", 1)
    jobs.schedule_recurring()
    context.extensions["clock"].advance(days=1)
    jobs.run_due_jobs(clock.now())
    runs = fetch_all(sa.select(Job.failed_at, Job.run_at).where(Job.kind == "housekeeping").order_by(Job.run_at))
    assert [run.failed_at is None for run in runs] == [False, True]
    assert runs[1].run_at > clock.now()


def test_the_query_for_the_next_job_uses_its_index(context):
    plan = query_plan(jobs.NEXT_DUE, until="2026-01-01", wall="2026-01-01")
    if db.engine.dialect.name == "sqlite":
        assert "ix_jobs_open_run_at" in plan
        assert "TEMP B-TREE" not in plan


@jobs.job_handler("test wait", jobs.WEBHOOK_LANE)
def wait_for_release(payload, now):
    assert released.wait(20)


released = threading.Event()


def test_a_receiver_that_hangs_delays_no_other_lane(context):
    """Every thread for webhooks hangs; a renewal, a mail and an import are run all the same."""
    kinds = {lane: f"test {lane}" for lane in jobs.THREADS_BY_LANE if lane != jobs.WEBHOOK_LANE}
    for lane, kind in kinds.items():
        jobs.job_handler(kind, lane)(record_note)
    released.clear()
    for _ in range(3 * jobs.THREADS_BY_LANE[jobs.WEBHOOK_LANE]):
        jobs.enqueue_job("test wait", {}, clock.now() - timedelta(hours=1))
    for lane, kind in kinds.items():
        jobs.enqueue_job(kind, {"id": lane}, clock.now())
    db.session.commit()
    stop = threading.Event()

    def work():
        with context.app_context():
            run_worker(stop)

    worker = threading.Thread(target=work)
    worker.start()
    deadline = time.monotonic() + 10
    done = sa.select(Job.lane).where(Job.kind.in_(kinds.values()), Job.done_at.is_not(None))
    while len(fetch_all(done)) < len(kinds) and time.monotonic() < deadline:
        time.sleep(0.05)
    try:
        assert sorted(row.lane for row in fetch_all(done)) == sorted(kinds)
        assert is_worker_alive()
    finally:
        stop.set()
        released.set()
        worker.join(20)
    assert not worker.is_alive()


COMMAND_APP = """
import json, sys, click
from streamsvc.cli.command_app import create_command_app
from streamsvc.worker import jobs
with click.Context(click.Command("worker")):
    app = create_command_app()
loaded = [name for name in sys.modules if name.startswith("streamsvc.blueprints")]
print(json.dumps([sorted(app.view_functions), loaded, sorted(jobs._handlers), sorted(jobs._batch_handlers)]))
"""


@pytest.mark.one_database
def test_commands_and_the_worker_load_every_job_and_no_endpoint(app):
    output = subprocess.run([sys.executable, "-c", COMMAND_APP], check=True, capture_output=True, text=True).stdout
    views, modules, handlers, batch_handlers = json.loads(output)
    assert views == modules == []
    assert set(handlers) == {kind for kind in jobs._handlers if not kind.startswith("test ")}
    assert set(batch_handlers) == {kind for kind in jobs._batch_handlers if not kind.startswith("test ")}
