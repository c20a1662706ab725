"""Every test that asks for `app` runs on each database, through HTTP, with a clock that stands still."""

import os
from datetime import UTC, datetime, timedelta
from functools import cache

import flask_migrate
import pytest
import sqlalchemy as sa
from sqlalchemy import event

from streamsvc.app import create_app
from streamsvc.settings import Settings
from streamsvc.storage import compiled_statements
from streamsvc.storage.database import AUTOCOMMIT_BIND, db
from tests.worlds import databases, postgres
from tests.worlds.databases import SERVER_VARIABLE

DATABASES = os.environ.get("STREAMSVC_TEST_DATABASES", "sqlite,postgresql").split(",")
SECRET = "a secret for tests alone, 32 characters at least"
NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
CHEAP_HASHING = {"argon2_memory_kib": 8, "argon2_time_cost": 1}
ALLOWED_WRITES = (
    "UPDATE sessions SET last_seen_at",
    "UPDATE operator_sessions SET last_seen_at",
    "UPDATE api_keys SET last_used_at",
    "INSERT INTO sandbox_clock",
    "INSERT INTO rate_limit_counters",  # whether it is the first time that somebody is turned away
    "INSERT INTO audit_events",
)
SLOWEST_FIRST = (
    "test_thread",
    "test_workers",
    "test_crashes",
    "test_access.py",
    "test_billing_lives",
    "test_serving",
    "test_search_probes",
    "test_migrations",
)
"""In this order: what needs the demo's catalogue comes some time after what has it seeded, not to wait for it."""
_running_servers = []


def pytest_configure(config):
    """One PostgreSQL for the whole run, however many processes test."""
    if "postgresql" in DATABASES and SERVER_VARIABLE not in os.environ and not hasattr(config, "workerinput"):
        running = postgres.postgres_server()
        os.environ[SERVER_VARIABLE] = running.__enter__()
        _running_servers.append(running)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """What takes longest comes first, and should not be waited for."""
    items.sort(
        key=lambda item: next((n for n, name in enumerate(SLOWEST_FIRST) if item.path.name.startswith(name)), 99)
    )


def pytest_unconfigure(config):
    for running in _running_servers:
        running.__exit__(None, None, None)
        del os.environ[SERVER_VARIABLE]
    _running_servers.clear()


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self):
        self.at = NOON

    def __call__(self):
        return self.at

    def advance(self, **by):
        self.at += timedelta(**by)


@pytest.fixture(scope="session")
def new_database(tmp_path_factory, worker_id):
    """Make a database: `new_database("postgresql", "name")` gives the URL of an empty one.

    With `fill`, it is a copy of one that `fill(url)` filled, once in the run.
    """
    folder = tmp_path_factory.getbasetemp()
    shared = folder if worker_id == "master" else folder.parent

    def make(kind, name, fill=None):
        like = databases.filled_database(kind, shared, fill) if fill else None
        return databases.create_database(kind, tmp_path_factory.mktemp(name), f"{name}_{worker_id}", like)

    return make


@pytest.fixture(scope="session")
def new_app(new_database):
    """Make an app on a migrated database of its own: `new_app("sqlite", "name", sandbox=False)`; closed at the end.

    `fill` is what filled the database, if it is not an empty one.
    """
    made = []

    def make(kind, name, clock=None, fill=migrate_database, **settings):
        app = build_app(new_database(kind, name, fill), clock, **settings)
        forbid_writes_in_get(app)
        made.append(app)
        return app

    yield make
    for app in made:
        close_app(app)


def build_app(url, clock=None, **settings):
    values = {"secret_key": (SECRET,), "sandbox": True, **CHEAP_HASHING, **settings}
    app = create_app(Settings(database_url=url, **values).with_defaults(), now=clock)
    disable_fsync(app)
    return app


def migrate_database(url):
    app = build_app(url)
    with app.app_context():
        flask_migrate.upgrade()
    close_app(app)


def close_app(app):
    for connection, _ in vars(compiled_statements._thread).pop("connections", {}).values():
        connection.close()  # what this thread keeps goes back to its pool, and with it
    with app.app_context():
        for engine in db.engines.values():
            engine.dispose()


def disable_fsync(app):
    """Nothing here has to outlive the machine's power, so SQLite need not wait for its disk; PostgreSQL neither."""
    with app.app_context():
        for engine in db.engines.values():
            if engine.dialect.name == "sqlite":
                event.listen(engine, "connect", lambda raw, _: raw.execute("PRAGMA synchronous=OFF"))


def forbid_writes_in_get(app):
    """A GET that writes fails its test; a few marks that a read may leave are named here."""
    from flask import has_request_context, request

    def check(connection, cursor, text, *rest):
        writes = text.lstrip()[:6].upper() in ("INSERT", "UPDATE", "DELETE")
        if writes and has_request_context() and request.method in ("GET", "HEAD"):
            assert text.startswith(ALLOWED_WRITES), f"{request.path} writes: {text}"

    with app.app_context():
        event.listen(db.engines[AUTOCOMMIT_BIND], "before_cursor_execute", check)


@pytest.fixture(scope="session", params=DATABASES)
def database(request):
    return request.param


@pytest.fixture(scope="session")
def shared_app(database, new_app):
    return new_app(database, "shared", clock=Clock())


@pytest.fixture
def app(shared_app):
    """The sandbox's app on an empty database, with the clock at noon."""
    shared_app.extensions["clock"].at = NOON
    with shared_app.app_context():
        delete_all_rows(db.engine)
    yield shared_app
    with shared_app.app_context():
        db.session.remove()


def delete_all_rows(engine):
    """Delete every row: for the few that a test leaves, far quicker than TRUNCATE on PostgreSQL."""
    with engine.begin() as connection:
        filled = {row[0] for row in connection.exec_driver_sql(_nonempty_tables_query())}
        tables = [table for table in reversed(db.metadata.sorted_tables) if table.name in filled]
        if engine.dialect.name == "postgresql":
            deletes = "; ".join(str(sa.delete(table)) for table in tables)
            connection.exec_driver_sql("SET LOCAL session_replication_role = replica; " + deletes)
        else:
            connection.exec_driver_sql("PRAGMA defer_foreign_keys=ON")
            for table in tables:
                connection.execute(sa.delete(table))


@cache
def _nonempty_tables_query():
    """What asks for the names of the tables that have rows."""
    each = [
        sa.select(sa.literal_column(f"'{table.name}'")).where(sa.exists(sa.select(1).select_from(table)))
        for table in db.metadata.sorted_tables
    ]
    return str(sa.union_all(*each).compile(compile_kwargs={"literal_binds": True}))


@pytest.fixture
def clock(app):
    return app.extensions["clock"]


@pytest.fixture
def client(app):
    return app.test_client()
