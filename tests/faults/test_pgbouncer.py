"""The service through PgBouncer in transaction mode, where each transaction may have another connection."""

import secrets
import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
import sqlalchemy as sa

from streamsvc.operations.maintenance.health import is_database_writable
from streamsvc.storage.database import db, fetch_one
from tests.conftest import Clock, build_app, close_app, migrate_database
from tests.worlds import pgbouncer
from tests.worlds.playback_steps import FILM, World

POOL_SIZE = 2
RELAXED = {"sessions", "api_keys", "streams", "progress", "rate_limit_counters", "idempotency_keys", "jobs", "workers"}
"""Tables with relaxed writes; every other table is written durably, and the money is in those."""
OBSERVE = """
CREATE TABLE observed (name text, synchronous_commit text, lock_timeout text);
CREATE FUNCTION observe() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO observed VALUES
        (tg_table_name, current_setting('synchronous_commit'), current_setting('lock_timeout'));
    RETURN NULL;
END $$;
"""
NAMES = ("synchronous_commit", "lock_timeout", "statement_timeout")
SETTINGS = "SELECT " + ", ".join(f"current_setting('{name}')" for name in NAMES)


@pytest.fixture(scope="module")
def url(database, new_database):
    """A migrated database through the bouncer. Its server commits durably, unlike that of the other tests."""
    if database != "postgresql":
        pytest.skip("SQLite has no connections that could be shared")
    if pgbouncer.PROGRAM is None:
        pytest.skip(pgbouncer.MISSING)
    direct = new_database("postgresql", "pooled")
    with psycopg.connect(direct, autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{sa.make_url(direct).database}" SET synchronous_commit = on')
    with pgbouncer.bouncer(direct, POOL_SIZE) as url:
        migrate_database(url)
        with psycopg.connect(direct) as connection:
            connection.execute(OBSERVE)
            for name in db.metadata.tables:
                connection.execute(
                    f"CREATE TRIGGER observe AFTER INSERT OR UPDATE ON {name} EXECUTE FUNCTION observe()"
                )
        yield url


@pytest.fixture(scope="module")
def app(url):
    app = build_app(url, clock=Clock())
    yield app
    close_app(app)


def walk(world, price_id):
    """Sign up, subscribe, play and cancel."""
    viewer = world.household()
    subscription = viewer.subscribe(price_id)
    stream_id = viewer.play("film").json["stream_id"]
    for position_s in (30, 60):
        assert viewer.send_heartbeat(stream_id, position_s).status_code == 200
    assert viewer.put(f"/v1/profiles/{viewer.profile_id}/watchlist/{world.ids['film']}").status_code == 204
    assert viewer.send_heartbeat(stream_id, 90, "stopped").status_code == 200
    path = f"/v1/subscriptions/{subscription['id']}/cancellation"
    response = viewer.post(path, {"when": "period_end"}, Idempotency_Key=secrets.token_hex(8))
    assert response.status_code == 200, response.json


def observe_stranger(url, stopping):
    """The settings that another client of the pool sees, one transaction after the other."""
    seen = set()
    with psycopg.connect(url, autocommit=True, prepare_threshold=None) as stranger:
        while not stopping.wait(0.005):
            seen.add(stranger.execute(SETTINGS).fetchone())
    return seen


def test_two_clients_on_two_connections_leave_nothing_behind_and_pay_durably(app, url):
    world = World(app)
    world.put_titles(FILM)
    price_id, stopping = world.put_plan(), threading.Event()
    with ThreadPoolExecutor(3) as pool:
        stranger = pool.submit(observe_stranger, url, stopping)
        walks = [pool.submit(lambda: [walk(world, price_id) for _ in range(4)]) for _ in range(2)]
        try:
            for finished in walks:
                finished.result(60)
        finally:
            stopping.set()
    assert stranger.result() == {("on", "0", "0")}
    with psycopg.connect(url) as connection:
        observed = set(connection.execute("SELECT DISTINCT name, synchronous_commit FROM observed").fetchall())
        limits = connection.execute("SELECT DISTINCT lock_timeout FROM observed WHERE name = 'invoices'").fetchall()
    assert {("payments", "on"), ("invoices", "on"), ("subscriptions", "on"), ("watchlist", "on")} <= observed
    assert ("streams", "off") in observed, "the observer notices relaxed writes"
    assert {name for name, level in observed if level == "off"} <= RELAXED
    assert limits == [("2s",)], "transactions limit their waits themselves"


def test_the_role_is_warned_about_and_statements_are_not_prepared(url, caplog):
    app = build_app(url)
    with app.app_context():
        for _ in range(12):
            assert fetch_one(sa.text("SELECT count(*) FROM pg_prepared_statements")) == (0,)
        assert is_database_writable()
    close_app(app)
    (warning,) = [record.getMessage() for record in caplog.records if record.name == "streamsvc.database"]
    assert "ALTER ROLE postgres SET lock_timeout = '2s'" in warning


def test_a_long_statement_that_fills_the_pool_is_not_taken_for_a_hang(app):
    """A probe for a hung server then waits for a connection as well, but another statement is answered meanwhile."""

    def sleep(seconds):
        with app.app_context():
            return fetch_one(sa.text("SELECT pg_sleep(:s), 7"), {"s": seconds})[1]

    with ThreadPoolExecutor(15) as pool:
        assert list(pool.map(sleep, [2.5, *[0.2] * 14])) == [7] * 15
