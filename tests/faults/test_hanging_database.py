"""A PostgreSQL server that hangs, and one whose rows stay locked: requests end with 503 in time."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from streamsvc.storage.database import db, fetch_one
from tests.conftest import NOON, build_app, close_app, migrate_database
from tests.worlds.frozen_postgres import FreezablePostgres

pytestmark = pytest.mark.every_database  # it skips SQLite by itself
BUDGET_S = 2.5
"""2 s, and some for a busy machine."""


@pytest.fixture(autouse=True)
def patience():
    """Have none: these tests are about servers that hang."""


@pytest.fixture
def server(database, new_database, tmp_path):
    if database != "postgresql":
        pytest.skip("SQLite has no server that could hang")
    with FreezablePostgres(new_database("postgresql", "frozen", migrate_database), tmp_path) as server:
        yield server


@pytest.fixture
def app(server):
    app = build_app(server.url, clock=lambda: NOON)
    yield app
    close_app(app)


def get_plans(app):
    """(status, Retry-After, seconds) of a request that reads."""
    started = time.monotonic()
    response = app.test_client().get("/v1/plans?country=DE")
    return response.status_code, response.headers.get("Retry-After"), time.monotonic() - started


def test_a_database_that_hangs_is_unavailable_in_time_and_available_once_it_responds(app, server):
    with ThreadPoolExecutor(6) as pool:
        assert {status for status, *_ in pool.map(get_plans, [app] * 6)} == {200}
        server.freeze()
        responses = list(pool.map(get_plans, [app] * 6))
        assert {response[:2] for response in responses} == {(503, "2")}
        assert max(seconds for *_, seconds in responses) < BUDGET_S
        status, _, seconds = get_plans(app)
        assert (status, seconds < 0.5) == (503, True), "known to hang"
        assert app.test_client().get("/livez").status_code == 200
        server.frozen = False
        thawed = time.monotonic()
        while get_plans(app)[0] != 200:
            assert time.monotonic() - thawed < BUDGET_S
            time.sleep(0.05)


def test_a_statement_that_takes_long_is_not_taken_for_a_hang(app):
    with app.app_context():
        assert fetch_one(sa.text("SELECT pg_sleep(1.8), 7"))[1] == 7


def test_a_lock_that_is_held_for_long_does_not_hold_requests(app, server):
    with app.app_context(), db.engine.begin() as connection:
        connection.exec_driver_sql("LOCK TABLE plans")
        status, retry_after, seconds = get_plans(app)
    assert (status, retry_after) == (503, "2")
    assert seconds < BUDGET_S
