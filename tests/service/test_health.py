"""Liveness, readiness and metrics: what they depend on, and what they survive."""

import logging
import sqlite3
from contextlib import closing

import psycopg
import pytest
import sqlalchemy as sa

from streamsvc.app import create_app
from streamsvc.models import HealthCheck
from streamsvc.operations.maintenance import worker_loop
from streamsvc.settings import Settings
from streamsvc.storage import outage_log
from streamsvc.storage.database import db, execute_write, fetch_all
from streamsvc.worker import jobs


def readiness(client):
    return client.get("/readyz").json["checks"]


@pytest.fixture(autouse=True)
def context_without_earlier_checks(app):
    app.extensions.pop("write_check", None)
    with app.app_context():
        yield


def test_readiness_writes_and_commits_at_most_once_per_second(app, client):
    rows = sa.select(HealthCheck.id, HealthCheck.checked_at)
    assert readiness(client)["database"]
    first = fetch_all(rows)
    assert readiness(client)["database"]
    assert len(first) == 1
    assert fetch_all(rows) == first
    app.extensions["write_check"].checked_at -= 1
    assert readiness(client)["database"]
    (again,) = fetch_all(rows)
    assert again.id == first[0].id
    assert again.checked_at > first[0].checked_at


@pytest.mark.parametrize(("revision", "is_current"), [("9999", True), ("0001", False), ("f00dba11cafe", False)])
def test_readiness_requires_at_least_the_schema_of_the_code(app, client, revision, is_current):
    (current,) = fetch_all(sa.text("SELECT version_num FROM alembic_version"))
    set_revision = sa.text("UPDATE alembic_version SET version_num = :revision")
    execute_write(set_revision, {"revision": revision})
    try:
        assert readiness(client)["schema"] is is_current
    finally:
        execute_write(set_revision, {"revision": current[0]})
    assert readiness(client)["schema"]


def test_another_transaction_that_writes_for_long_does_not_make_the_service_unready(app, client):
    with db.engine.begin() as connection:
        connection.execute(sa.insert(HealthCheck).values(id="other", checked_at=app.extensions["clock"]()))
        assert readiness(client)["database"]


def refusal_for_space(database, folder):
    """The error of a write for which there is no space."""
    if database == "postgresql":
        return psycopg.errors.DiskFull()
    with closing(sqlite3.connect(folder / "small.sqlite3")) as connection:
        connection.execute("PRAGMA max_page_count = 2")
        connection.execute("CREATE TABLE data (text)")
        with pytest.raises(sqlite3.OperationalError, match="full") as refused:
            connection.execute("INSERT INTO data VALUES (?)", ["x" * 100_000])
    return refused.value


def test_a_write_refused_for_lack_of_space_makes_the_service_unready_for_a_moment(
    client, database, tmp_path, monkeypatch
):
    monkeypatch.setattr(outage_log, "_refused_at", float("-inf"))  # and again at the end
    assert readiness(client)["database"]
    error = sa.exc.OperationalError("INSERT", {}, refusal_for_space(database, tmp_path))
    outage_log.log_outage(logging.getLogger("test"), "a request", error)
    assert not readiness(client)["database"]
    monkeypatch.setattr(outage_log, "REFUSAL_LASTS_S", 0)
    assert readiness(client)["database"]


@pytest.mark.one_database
def test_an_error_without_a_code_is_no_lack_of_space(monkeypatch):
    monkeypatch.setattr(outage_log, "_refused_at", float("-inf"))
    for error in (sqlite3.OperationalError("no code"), psycopg.OperationalError("no code"), None):
        outage_log.log_outage(logging.getLogger("test"), "a request", sa.exc.OperationalError("INSERT", {}, error))
    assert not outage_log.was_refused_for_space()


def test_without_a_database_the_process_is_alive_and_reports_its_metrics(monkeypatch, caplog):
    monkeypatch.setattr(outage_log, "_logged_at", float("-inf"))
    settings = Settings(
        database_url="postgresql+psycopg://nobody@127.0.0.1:1/none", secret_key=("x" * 32,), metrics=True
    )
    client = create_app(settings).test_client()
    assert client.get("/livez").status_code == 200
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json["checks"] == {
        "database": False,
        "schema": False,
        "worker": False,
        "clock": True,
        "reconciled": True,
    }
    text = client.get("/metrics").text
    assert "streamsvc_database_up 0.0" in text
    assert 'streamsvc_request_seconds_count{method="GET",route="/livez",status="200"} 1.0' in text
    assert "streamsvc_jobs_due" not in text
    assert [client.get("/v1/plans").status_code for _ in range(5)] == [503] * 5
    assert caplog.text.count("database unavailable") == 1, "one line a second"


class StopAfter:
    """What stops a lane once it has waited a number of times; it does not wait."""

    def __init__(self, waits):
        self.waits_left = waits

    def is_set(self):
        return self.waits_left == 0

    def wait(self, timeout_s):
        self.waits_left -= 1


def test_without_a_database_the_lanes_log_one_line_together(monkeypatch, caplog):
    monkeypatch.setattr(outage_log, "_logged_at", float("-inf"))
    monkeypatch.setattr(outage_log, "INTERVAL_S", 60)
    settings = Settings(database_url="postgresql+psycopg://nobody@127.0.0.1:1/none", secret_key=("x" * 32,))
    app = create_app(settings)
    for lane in jobs.THREADS_BY_LANE:
        worker_loop._run_lane(app, lane, StopAfter(waits=3))
    assert [record.getMessage() for record in caplog.records] == [
        "database unavailable: OperationalError (lane default)"
    ]


def test_liveness_uses_no_database_connection(client, statements):
    assert client.get("/livez").status_code == 200
    assert statements == []
