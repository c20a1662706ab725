"""The sandbox's clock: it starts at the setting, only moves forward, and runs due jobs in order of time."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from streamsvc import clock
from streamsvc.models import SandboxClock
from streamsvc.operations.accounts.api_keys import create_api_key
from streamsvc.storage.database import db, execute_write, fetch_all
from streamsvc.worker import jobs
from tests.conftest import delete_all_rows

pytestmark = pytest.mark.every_database

START = datetime(2012, 2, 1, tzinfo=UTC)
DAILY = sorted(kind for kind, every in jobs._recurring.items() if every == timedelta(days=1))
runs = []


@jobs.job_handler("test moment")
def handle_test_job(payload, now):
    runs.append((payload["name"], now, clock.now()))
    if payload.get("then_in_days"):
        jobs.enqueue_job("test moment", {"name": "its child"}, now + timedelta(days=payload["then_in_days"]))


@pytest.fixture(scope="module")
def sandbox(database, new_app):
    return new_app(database, "clock", sandbox_clock=START)


@pytest.fixture
def key(sandbox):
    runs.clear()
    with sandbox.app_context():
        delete_all_rows(db.engine)
        yield create_api_key("tests", ["admin"])


@pytest.fixture
def put(sandbox, key):
    def put_clock(moment):
        headers = {"Authorization": f"Bearer {key}"}
        return sandbox.test_client().put("/v1/sandbox/clock", json={"now": moment.isoformat()}, headers=headers)

    return put_clock


def enqueue_after(days, name, **payload):
    jobs.enqueue_job("test moment", {"name": name, **payload}, START + timedelta(days=days))
    db.session.commit()


def test_the_clock_starts_where_the_settings_say_and_runs_on(sandbox, key):
    now = sandbox.test_client().get("/v1/sandbox/clock", headers={"Authorization": f"Bearer {key}"}).json["now"]
    assert START <= datetime.fromisoformat(now) < START + timedelta(minutes=1)


def test_earlier_activity_does_not_start_the_clock(sandbox, key, monkeypatch):
    def current_time():
        response = sandbox.test_client().get("/v1/sandbox/clock", headers={"Authorization": f"Bearer {key}"})
        return datetime.fromisoformat(response.json["now"])

    execute_write(sa.delete(SandboxClock))
    with monkeypatch.context() as unset:
        unset.setitem(sandbox.extensions, "settings", replace(sandbox.extensions["settings"], sandbox_clock=None))
        assert abs(current_time() - clock.wall_time()) < timedelta(minutes=1)
    assert START <= current_time() < START + timedelta(minutes=1)


def test_due_jobs_run_in_order_of_time_at_their_moment(sandbox, key, put):
    enqueue_after(30, "third")
    enqueue_after(2, "first", then_in_days=5)
    enqueue_after(40, "too late")
    response = put(START + timedelta(days=35))
    assert (response.status_code, response.json["now"]) == (200, "2012-03-07T00:00:00Z")
    assert [name for name, *_ in runs] == ["first", "its child", "third"]
    assert [now - START for _, now, _ in runs] == [timedelta(days=d) for d in (2, 7, 30)]
    assert all(now == clock_time for _, now, clock_time in runs)


def test_the_clock_only_moves_forward(put):
    assert put(START + timedelta(days=10)).status_code == 200
    response = put(START + timedelta(days=9))
    assert (response.status_code, response.json["code"]) == (422, "clock_moves_forward")


def test_only_one_request_moves_the_clock_at_a_time(sandbox, put):
    put(START + timedelta(days=1))
    execute_write(db.update(SandboxClock).values(moving_until=clock.wall_time() + timedelta(seconds=30)))
    response = put(START + timedelta(days=2))
    assert (response.status_code, response.json["code"]) == (409, "clock_is_moving")


def test_a_job_that_fails_during_a_move_is_retried_during_the_move(sandbox, key, put):
    enqueue_after(1, "fails", then_in_days="not a number")
    put(START + timedelta(days=2))
    assert len(runs) == jobs.MAX_ATTEMPTS
    moments = [now for _, now, _ in runs]
    assert moments == sorted(moments)


def test_a_daily_job_runs_once_per_move_at_its_last_moment(sandbox, put):
    put(START + timedelta(days=400, hours=3))
    done = [(job.kind, job.run_at) for job in fetch_all(sa.select(jobs.Job).where(jobs.Job.done_at.is_not(None)))]
    assert [at for kind, at in sorted(done) if kind in DAILY] == [START + timedelta(days=400)] * len(DAILY)
    open_jobs = fetch_all(sa.select(jobs.Job.kind, jobs.Job.run_at).where(jobs.IS_OPEN, jobs.Job.kind.in_(DAILY)))
    assert sorted(map(tuple, open_jobs)) == [(kind, START + timedelta(days=401)) for kind in DAILY]
