"""Fixtures: every test that uses `app` runs on each database, through HTTP, with a clock that the test moves."""

import gc
import os
import zlib
from datetime import UTC, datetime, timedelta
from functools import cache

import flask_migrate
import pytest
import sqlalchemy as sa
from sqlalchemy import event

from streamsvc.app import create_app
from streamsvc.gateways import peers
from streamsvc.settings import Settings
from streamsvc.storage import durability
from streamsvc.storage.database import AUTOCOMMIT_BIND, db
from streamsvc.worker import gc_tuning
from tests.worlds import databases, postgres
from tests.worlds.databases import SERVER_VARIABLE, close_app
from tests.worlds.described_client import DescribedClient
from tests.worlds.hot_reads import compare_hot_reads

DATABASES = os.environ.get("STREAMSVC_TEST_DATABASES", "sqlite,postgresql").split(",")
EVERYTHING = os.environ.get("STREAMSVC_TEST_EVERYTHING") == "1"
"""Whether every test runs on every database, which takes twice as long: `make test-both`."""
SCENARIO_FOLDERS = {"subscriptions", "catalog", "playback", "sessions", "operators", "faults"}
"""Folders whose tests run on one of the databases each, half of them on either, chosen by their names.

Not those marked `every_database`: tests whose subject is what the databases do differently, such as locks, races,
constraints, batches and search.
"""
SECRET = "a secret for tests alone, 32 characters at least"
NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
CHEAP_HASHING = {"argon2_memory_kib": 8, "argon2_time_cost": 1}
ALLOWED_WRITES = (
    "UPDATE sessions SET last_seen_at",
    "UPDATE operator_sessions SET last_seen_at",
    "UPDATE api_keys SET last_used_at",
    "INSERT INTO sandbox_clock",
    "INSERT INTO rate_limit_keys",
    "INSERT INTO rate_limit_counters",  # counts the first denial of its kind
    "INSERT INTO audit_events",
    "INSERT INTO dpop_proofs",
    "INSERT INTO health_checks",
    "DELETE FROM health_checks",
)
SLOWEST_FIRST = (
    *("test_failover", "test_access.py", "test_billing_cases"),
    *("test_wire", "test_mass_assignment", "test_search_probes"),
    *("test_workers", "test_payments_stripe", "test_billing_debts"),
    *("test_end_to_end", "test_sort_orders", "test_migrations"),
    *("test_crashes", "test_billing_lives", "test_billing_batches"),
    *("test_hanging_peers", "test_search_languages", "test_upgrades"),
    *("test_serving", "test_start", "test_wheel", "test_python_client", "test_clock_jumps", "test_logs"),
)
"""In this order: one that mostly waits for other processes beside two that compute, so that no core is idle.

Tests that need the demo catalogue run some time after the one that seeds it, so as not to wait for it.
"""
_running_servers = []


durability.SYNCHRONOUS = durability.SYNCHRONOUS_RELAXED = "OFF"
"""On SQLite: test data need not survive a power failure."""
compare_hot_reads()


def pytest_configure(config):
    """Start one PostgreSQL server for the whole run, shared by all test processes.

    Garbage is not collected until the tests are: there is little among modules and tests, which stay.
    """
    gc.disable()
    if "postgresql" in DATABASES and SERVER_VARIABLE not in os.environ and not hasattr(config, "workerinput"):
        server = postgres.postgres_server()
        os.environ[SERVER_VARIABLE] = server.__enter__()
        _running_servers.append(server)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    """Run the slowest tests first, so that the run does not end by waiting for them.

    Tests marked `one_database` run on the first database only: what they check cannot depend on it. Scenarios run on
    one of the two databases each, unless `EVERYTHING` is asked for; see `SCENARIO_FOLDERS`.
    """
    repeated = {item for item in items if _is_left_out(item)}
    config.hook.pytest_deselected(items=list(repeated))
    items[:] = [item for item in items if item not in repeated]
    items.sort(
        key=lambda item: next((n for n, name in enumerate(SLOWEST_FIRST) if item.path.name.startswith(name)), 99)
    )


def _is_left_out(item) -> bool:
    database = item.callspec.params.get("database") if hasattr(item, "callspec") else None
    if database is None or len(DATABASES) < 2:
        return False
    if item.get_closest_marker("one_database"):
        return database != DATABASES[0]
    is_whole_file = item.get_closest_marker("either_database")
    is_scenario = item.path.parent.name in SCENARIO_FOLDERS
    if EVERYTHING or item.get_closest_marker("every_database") or not (is_scenario or is_whole_file):
        return False
    name = item.path.name if is_whole_file else item.nodeid.replace(database, "")
    return database != DATABASES[zlib.crc32(name.encode()) % len(DATABASES)]


def pytest_collection_finish():
    """Collect garbage less often: what the tests have imported, and most of what they compile, stays until the end."""
    gc_tuning.tune_gc()
    gc.set_threshold(10 * gc_tuning.THRESHOLD_0, gc_tuning.THRESHOLD_1, gc_tuning.THRESHOLD_2)


def pytest_unconfigure(config):
    for server in _running_servers:
        server.__exit__(None, None, None)
        del os.environ[SERVER_VARIABLE]
    _running_servers.clear()


class Clock:
    """A clock that stands still until it is advanced."""

    def __init__(self):
        self.at = NOON

    def __call__(self):
        return self.at

    def advance(self, **by):
        self.at += timedelta(**by)


@pytest.fixture(autouse=True)
def closed_circuits():
    """Forget which local servers failed in earlier tests: the next one may get the same port."""
    peers.close_circuits()


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """Believe that PostgreSQL hangs after a minute only: a busy machine may itself stop for a second."""
    if "postgresql" in DATABASES:
        from streamsvc.storage import hang_watchdog  # the driver is optional

        monkeypatch.setattr(hang_watchdog, "SUSPECT_AFTER_S", 60)


@pytest.fixture(scope="session")
def new_database(tmp_path_factory, worker_id):
    """Create databases: `new_database("postgresql", "name")` returns the URL of an empty one.

    With `fill`, it is a copy of a database that `fill(url)` has filled once in the run. Skips the test if the run is
    without that kind of database.
    """
    worker_folder = tmp_path_factory.getbasetemp()
    run_folder = worker_folder if worker_id == "master" else worker_folder.parent

    def create(kind, name, fill=None):
        if kind not in DATABASES:
            pytest.skip(f"requires {kind}")
        template = databases.filled_database(kind, run_folder, fill) if fill else None
        return databases.create_database(kind, tmp_path_factory.mktemp(name), f"{name}_{worker_id}", template)

    return create


@pytest.fixture(scope="session")
def new_app(new_database):
    """Create apps, each on a migrated database of its own: `new_app("sqlite", "name", sandbox=False)`.

    They are closed at the end. `fill` fills the database, if it should not be empty.
    """
    apps = []

    def create(kind, name, clock=None, fill=migrate_database, **settings):
        app = build_app(new_database(kind, name, fill), clock, **settings)
        disable_ping(app)
        keep_compiled_statements(app)
        forbid_writes_in_get(app)
        apps.append(app)
        return app

    yield create
    for app in apps:
        close_app(app)


def build_app(url, clock=None, **settings):
    """An app on this database, with cheap hashing and, unless `settings` say otherwise, in the sandbox."""
    values = {"secret_key": (SECRET,), "sandbox": True, "guests": True, **CHEAP_HASHING, **settings}
    app = create_app(Settings(database_url=url, **values).with_defaults(), now=clock)
    app.test_client_class = DescribedClient
    return app


def migrate_database(url):
    """Run all migrations."""
    app = build_app(url)
    with app.app_context():
        flask_migrate.upgrade()
    close_app(app)


def disable_ping(app):
    """Let PostgreSQL's connections be used without a ping before: no test restarts the server that all tests share."""
    with app.app_context():
        for engine in db.engines.values():
            engine.dialect.do_ping = lambda _: True


def keep_compiled_statements(app):
    """Compile each statement once: the tests send more different ones than SQLAlchemy remembers by default."""
    with app.app_context():
        for engine in db.engines.values():
            engine.update_execution_options(compiled_cache={})


def forbid_writes_in_get(app):
    """Fail any test in which a GET writes, apart from a few allowed statements."""
    from flask import has_request_context, request

    def check_statement(connection, cursor, text, *rest):
        writes = text.lstrip()[:6].upper() in ("INSERT", "UPDATE", "DELETE")
        if writes and has_request_context() and request.method in ("GET", "HEAD"):
            assert text.startswith(ALLOWED_WRITES), f"{request.path} writes: {text}"

    with app.app_context():
        event.listen(db.engines[AUTOCOMMIT_BIND], "before_cursor_execute", check_statement)


@pytest.fixture(scope="session", params=DATABASES)
def database(request):
    return request.param


@pytest.fixture(scope="session")
def get_shared_app(new_app):
    """Create the shared app of a database at its first use; pytest itself would create it again for each file."""
    return cache(lambda database: new_app(database, "shared", clock=Clock()))


@pytest.fixture(scope="session")
def shared_app(database, get_shared_app):
    return get_shared_app(database)


@pytest.fixture
def app(shared_app):
    """The sandbox app on an empty database, with the clock at noon."""
    extensions = shared_app.extensions
    extensions["settings"] = extensions.setdefault("first_settings", extensions["settings"])
    extensions["clock"].at = NOON
    extensions.pop("stopped_streams", None)
    with shared_app.app_context():
        delete_all_rows(db.engine)
    yield shared_app
    with shared_app.app_context():
        db.session.remove()


def delete_all_rows(engine):
    """Delete every row: much faster than TRUNCATE on PostgreSQL for the few rows of a test."""
    is_postgresql = engine.dialect.name == "postgresql"
    with (databases.engine_without_constraints(engine.url) if is_postgresql else engine).begin() as connection:
        nonempty = {row[0] for row in connection.exec_driver_sql(_nonempty_tables_query())}
        deletes = [f"DELETE FROM {name}" for name in _tables_children_first() if name in nonempty]  # noqa: S608
        if is_postgresql and deletes:
            connection.exec_driver_sql("; ".join(deletes))
        elif deletes:
            connection.exec_driver_sql("PRAGMA defer_foreign_keys=ON")
            for delete in deletes:
                connection.exec_driver_sql(delete)


@cache
def _tables_children_first():
    """The names of all tables, each before those that it refers to."""
    return [table.name for table in reversed(db.metadata.sorted_tables)]


@cache
def _nonempty_tables_query():
    """A query for the names of the tables that have rows."""
    queries = [
        sa.select(sa.literal_column(f"'{table.name}'")).where(sa.exists(sa.select(1).select_from(table)))
        for table in db.metadata.sorted_tables
    ]
    return str(sa.union_all(*queries).compile(compile_kwargs={"literal_binds": True}))


@pytest.fixture
def clock(app):
    return app.extensions["clock"]


@pytest.fixture
def statements(app):
    """A list that gets the text of every statement sent through the app's engines during the test."""
    texts = []

    def record(connection, cursor, text, *rest):
        texts.append(text)

    with app.app_context():
        engines = list(db.engines.values())
    for engine in engines:
        event.listen(engine, "before_cursor_execute", record)
    yield texts
    for engine in engines:  # the app is shared with the tests that follow
        event.remove(engine, "before_cursor_execute", record)


@pytest.fixture
def client(app):
    return app.test_client()
