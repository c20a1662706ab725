"""What a response confirmed as saved survives a crash of the database, but for the writes that the docs name."""

import ast
import re
from collections import defaultdict
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy import event

from streamsvc.storage import compiled_statements, durability
from streamsvc.storage.database import AUTOCOMMIT_BIND, db
from streamsvc.storage.durability import Relaxed
from tests.conftest import Clock, build_app, close_app, migrate_database
from tests.worlds.playback_steps import CARTOON, FILM, World
from tests.worlds.postgres import started_server

pytestmark = pytest.mark.every_database
ROOT = Path(__file__).parent.parent.parent
NEVER_BY_ITSELF = {
    "wal_writer_delay": "10s",
    "wal_writer_flush_after": "1GB",
    "wal_level": "minimal",  # else the server logs a snapshot every 15 seconds
    "max_wal_senders": "0",
    "autovacuum": "off",
}
"""Only a durable commit writes the log: whatever is not durable is lost in the crash."""
RELAXED_WRITES = {
    "SESSION_USE": {"security/viewers.py:find_viewer", "security/operators.py:find_operator_by_session"},
    "API_KEY_USE": {"security/operators.py:find_operator_by_key"},
    "STREAM_HEARTBEAT": {"models/progress.py:save_heartbeat", "operations/playback/heartbeats.py:HEARTBEAT"},
    "WORKER_HEARTBEAT": {"operations/maintenance/worker_loop.py:_record_heartbeat"},
    "RATE_LIMIT": {"security/rate_limits.py:counter_transaction"},
    "DEVICE_CODE_POLL": {"operations/sign_in/device_codes.py:_record_poll"},
    "LEASE": {
        "http/idempotency.py:_lease_or_replay",
        "http/idempotency.py:_release_key",
        "storage/leases.py:_renew",
        "worker/jobs.py:_lease",
        "worker/jobs.py:lease_batch",
    },
}
"""A write that is added here may be lost after its request has succeeded. Does a person miss it?"""


class Household:
    """A viewer with a stream of a film."""

    def __init__(self, app):
        self.world = World(app)
        self.world.put_titles(FILM, CARTOON)
        self.viewer = self.world.household(plan=self.world.put_plan())
        self.film, self.cartoon = self.world.ids["film"], self.world.ids["cartoon"]
        self.stream_id = self.viewer.post("/v1/playback", {"item_id": self.film}).json["stream_id"]

    def path(self, *parts):
        return "/".join([f"/v1/profiles/{self.viewer.profile_id}", *parts])

    def report_progress(self):
        body = {"position_s": 700, "duration_s": 5400, "at": self.world.clock().isoformat()}
        assert self.viewer.put(self.path("progress", self.cartoon), body).status_code == 200

    def add_to_watchlist(self):
        assert self.viewer.put(self.path("watchlist", self.cartoon)).status_code == 204

    def send_heartbeat(self, state="playing", position_s=60):
        self.world.clock.advance(seconds=10)
        body = {"position_s": position_s, "state": state, "at": self.world.clock().isoformat()}
        response = self.viewer.post(f"/v1/playback/{self.stream_id}/heartbeat", body)
        assert response.status_code == 200, response.json


@pytest.fixture(scope="module")
def server(database):
    if database != "postgresql":
        pytest.skip("SQLite has no server that could crash")
    with started_server(**NEVER_BY_ITSELF) as server:
        yield server


@pytest.fixture
def household(server):
    with psycopg.connect(server.url.format("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE crashing")
    url = server.url.format("crashing")
    migrate_database(url)
    app = build_app(url, clock=Clock())
    yield Household(app)
    close_app(app)
    with psycopg.connect(server.url.format("postgres"), autocommit=True) as connection:
        connection.execute("DROP DATABASE crashing WITH (FORCE)")


def rows_after_crash(server, *queries):
    """The first value of each query after a crash and a restart."""
    server.crash()
    server.start()
    with psycopg.connect(server.url.format("crashing")) as connection:
        return [row[0] if (row := connection.execute(query).fetchone()) else None for query in queries]


POSITION = "SELECT position_s FROM progress WHERE title_id = '{}'"


def test_what_viewers_were_told_survives_a_crash_and_only_a_heartbeat_does_not(household, server):
    cartoon, film = POSITION.format(household.cartoon), POSITION.format(household.film)
    household.report_progress()
    household.send_heartbeat(position_s=30)  # playing begins
    household.send_heartbeat(position_s=60)
    assert rows_after_crash(server, cartoon, film, "SELECT position_s FROM streams") == [700, 30, 30]
    reconnect(household)
    household.add_to_watchlist()
    assert rows_after_crash(server, "SELECT count(*) FROM watchlist") == [1]
    reconnect(household)
    household.send_heartbeat("stopped", 90)
    assert rows_after_crash(server, film, "SELECT end_reason FROM streams") == [90, "stopped"]


def reconnect(household):
    """Make one request, which may find that its connection is gone."""
    household.viewer.get("/v1/sessions/current")


def test_sqlite_waits_for_the_disk_unless_the_write_is_relaxed(database, new_database, monkeypatch):
    if database != "sqlite":
        pytest.skip("PostgreSQL crashes for real")
    monkeypatch.setattr(durability, "SYNCHRONOUS", "FULL")
    monkeypatch.setattr(durability, "SYNCHRONOUS_RELAXED", "NORMAL")
    app = build_app(new_database("sqlite", "synchronous", migrate_database), clock=Clock())
    levels = watch_levels(app)
    household = Household(app)
    assert set(levels["INSERT INTO streams"]) == {"FULL"}
    levels.clear()
    household.report_progress()
    household.add_to_watchlist()
    household.send_heartbeat(position_s=30)
    household.send_heartbeat()
    household.send_heartbeat("stopped", position_s=90)
    close_app(app)
    assert levels == {
        "INSERT INTO progress": ["FULL", "NORMAL", "NORMAL", "NORMAL"],
        "INSERT INTO plays": ["FULL"],
        "INSERT INTO watchlist": ["FULL"],
        "UPDATE streams": ["FULL", "NORMAL", "FULL"],
    }


def test_sqlites_connections_wait_for_the_disk_again_once_they_are_in_the_pool(database, new_database, monkeypatch):
    if database != "sqlite":
        pytest.skip("PostgreSQL relaxes the transaction, not the connection")
    monkeypatch.setattr(durability, "SYNCHRONOUS", "FULL")
    monkeypatch.setattr(durability, "SYNCHRONOUS_RELAXED", "NORMAL")
    app = build_app(new_database("sqlite", "returned", migrate_database), clock=Clock())
    household = Household(app)
    household.send_heartbeat(position_s=30)
    household.send_heartbeat()
    with app.app_context():
        engine = db.engines[AUTOCOMMIT_BIND]
        own = compiled_statements._thread.get(engine)
        assert own.execute("PRAGMA synchronous").fetchone() == (1,), "the thread keeps the level of its heartbeats"
        monkeypatch.setattr(compiled_statements, "MAX_IDLE_S", -1.0)  # its next statement returns it to the pool
        compiled_statements._thread.get(engine)
        with engine.connect() as first, engine.connect() as second:
            found = [connection.exec_driver_sql("PRAGMA synchronous").scalar() for connection in (first, second)]
    close_app(app)
    assert found == [2, 2]


def watch_levels(app):
    """{beginning of a statement: SQLite's level at each of its runs}, filled as the app runs statements."""
    levels = defaultdict(list)

    def watch(raw, _):
        current = ["FULL"]

        def note(statement):
            if level := re.match(r"PRAGMA synchronous=(\w+)", statement):
                current[0] = level[1]
            if name := re.match(r"(INSERT INTO|UPDATE) \w+", statement):
                levels[name[0]].append(current[0])

        raw.set_trace_callback(note)

    with app.app_context():
        for engine in db.engines.values():
            event.listen(engine, "connect", watch)
    return levels


def test_every_relaxed_write_is_known_and_documented():
    found = defaultdict(set)
    for path in sorted((ROOT / "streamsvc").rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            for part in ast.walk(node):
                if isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name) and part.value.id == "Relaxed":
                    name = node.name if isinstance(node, ast.FunctionDef) else ast.unparse(node).split(" = ")[0]
                    found[part.attr].add(f"{path.relative_to(ROOT / 'streamsvc')}:{name}")
    assert found == RELAXED_WRITES
    page = (ROOT / "docs" / "reliability.md").read_text()
    (table,) = re.findall(r"\| a crash of the database may lose \|.*?\n\n", page, re.DOTALL)
    assert re.findall(r"^\| (?!-|a crash)(.*?) \|", table, re.MULTILINE) == [member.value for member in Relaxed]


def test_a_relaxed_insert_cannot_return_rows():
    columns = sa.table("things", sa.column("id"))
    with pytest.raises(AssertionError, match="cannot return rows"):
        durability.relax_on_postgresql(sa.insert(columns).returning(columns.c.id))
