"""Upgrades from every earlier revision keep the data, and survive other nodes, locks and kills."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import flask_migrate
import psycopg
import pytest
import sqlalchemy as sa
from alembic import command

from streamsvc.storage import database as storage
from streamsvc.storage import postgresql, write_queue
from streamsvc.storage.database import db
from tests.conftest import build_app, close_app, migrate_database
from tests.worlds.any_rows import insert_anything
from tests.worlds.next_migration import REVISIONS, configuration_with, write_migration
from tests.worlds.service import wait_until

WITH_DATA = REVISIONS if os.environ.get("STREAMSVC_TEST_MIGRATIONS") == "every" else REVISIONS[2::13]
"""The revisions at which rows are inserted: every one, or a few."""

FORGOTTEN = {"rate_limit_counters", "pending_flows", "mailed_tokens"}
"""Tables that a migration has emptied on purpose: what is in them is valid for minutes."""
REWRITTEN = {"email_key"}


@pytest.fixture
def empty_app(database, new_database):
    app = build_app(new_database(database, "upgraded"))
    with app.app_context():
        yield app
    close_app(app)


def test_rows_of_every_revision_survive_the_upgrade(empty_app):
    inserted = []
    for mark, revision in enumerate(WITH_DATA, 1):
        flask_migrate.upgrade(revision=revision)
        with db.engine.begin() as connection:
            inserted.append(insert_anything(connection, mark))
    flask_migrate.upgrade()
    with db.engine.connect() as connection:
        lost = [(mark, *gone) for mark, rows in enumerate(inserted) for gone in find_lost(connection, rows)]
    assert not lost, f"{len(lost)}, such as {lost[:5]}"


def find_lost(connection, rows):
    """(table, columns) of each row that is gone, or whose texts have changed, of tables that still exist."""
    metadata, remaining = sa.MetaData(), set(sa.inspect(connection).get_table_names()) - FORGOTTEN
    for name in rows.keys() & remaining:
        table = sa.Table(name, metadata, autoload_with=connection)
        texts = {
            key: value
            for key, value in rows[name].items()
            if key in table.columns and key not in REWRITTEN and isinstance(table.columns[key].type, sa.String)
        }
        is_row = [table.columns[key] == value for key, value in texts.items()]
        if connection.scalar(sa.select(sa.func.count()).select_from(table).where(*is_row)) < 1:
            yield name, texts


SLOW = """
    op.create_table("slow", sa.Column("id", sa.Integer, primary_key=True))
    with Path("{log}").open("a") as log:
        log.write(f"{{os.getpid()}}\\n")
    time.sleep(3 if Path("{log}").read_text().count("\\n") == 1 else 0)
"""
MIGRATE = """
import os, sys, traceback
from alembic import command
from streamsvc.app import create_app
from tests.worlds.next_migration import configuration_with

app = create_app()
for _ in range(4):
    if not os.fork():
        try:
            with app.app_context():
                command.upgrade(configuration_with(sys.argv[1]), "heads")
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
print(sorted(os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(4)))
"""
"""Four nodes, which share only what they have loaded."""


def test_one_of_four_nodes_migrates_and_another_takes_over_when_it_is_killed(database, new_database, tmp_path):
    url, log = new_database(database, "nodes", migrate_database), tmp_path / "log"
    write_migration(tmp_path, SLOW.format(log=log))
    env = {**os.environ, "STREAMSVC_DATABASE_URL": url, "STREAMSVC_DATA_DIR": str(tmp_path)}
    program = [sys.executable, "-c", MIGRATE, str(tmp_path)]
    nodes = subprocess.Popen(program, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    first = int(wait_until(lambda: log.exists() and log.read_text()))
    os.kill(first, signal.SIGKILL)
    codes, errors = nodes.communicate(timeout=60)
    assert codes.strip() == f"{[-signal.SIGKILL.value, 0, 0, 0]}", errors
    assert len(log.read_text().split()) == 2, "one migrated after it"


def test_four_nodes_run_each_of_several_migrations_once(database, new_database, tmp_path):
    url, log = new_database(database, "turns", migrate_database), tmp_path / "log"
    names = ["next", "second", "third", "last"]
    for name, before in zip(names, [REVISIONS[-1], *names], strict=False):
        body = f'    op.create_table("{name}", sa.Column("id", sa.Integer, primary_key=True))\n'
        body += f'    with Path("{log}").open("a") as log:\n        log.write("{name}\\n")\n'
        write_migration(tmp_path, body, name, before)
    env = {**os.environ, "STREAMSVC_DATABASE_URL": url, "STREAMSVC_DATA_DIR": str(tmp_path)}
    program = [sys.executable, "-c", MIGRATE, str(tmp_path)]
    nodes = subprocess.run(program, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert nodes.stdout.strip() == "[0, 0, 0, 0]", nodes.stderr
    assert log.read_text().split() == names


SLOW_TABLE = """
    op.create_table("{name}", sa.Column("id", sa.Integer, primary_key=True))
    time.sleep(1.5)
"""


@pytest.fixture
def sqlite_app(database, new_app, monkeypatch):
    if database != "sqlite":
        pytest.skip("PostgreSQL allows concurrent writers")
    monkeypatch.setattr(write_queue, "TIMEOUT_S", 20)
    return new_app("sqlite", "taking_turns")


def test_on_sqlite_requests_write_between_two_migrations(sqlite_app, tmp_path):
    names, seen = ["next", "second", "third"], []
    for name, before in zip(names, [REVISIONS[-1], *names], strict=False):
        write_migration(tmp_path, SLOW_TABLE.format(name=name), name, before)

    def write_until_done():
        with sqlite_app.app_context():
            while not seen or seen[-1] < len(names):
                with storage.write_transaction() as connection:
                    connection.execute(sa.text("UPDATE jobs SET lane = lane"))
                    tables = sa.text("SELECT count(*) FROM sqlite_master WHERE name IN ('next', 'second', 'third')")
                    seen.append(connection.scalar(tables))

    with ThreadPoolExecutor(1) as pool, sqlite_app.app_context():
        writer = pool.submit(write_until_done)
        wait_until(lambda: seen)
        program = [sys.executable, "-c", MIGRATE_ONCE, str(tmp_path)]
        env = {**os.environ, "STREAMSVC_DATABASE_URL": str(db.engine.url), "STREAMSVC_DATA_DIR": str(tmp_path)}
        subprocess.run(program, env=env, timeout=60, check=True)
        writer.result(30)
    assert set(seen) == {0, 1, 2, 3}, "each migration was committed before the next one began"


MIGRATE_ONCE = """
import sys
from alembic import command
from streamsvc.app import create_app
from tests.worlds.next_migration import configuration_with

with create_app().app_context():
    command.upgrade(configuration_with(sys.argv[1]), "heads")
"""


def test_on_sqlite_an_upgrade_waits_for_a_writer_longer_than_a_request(sqlite_app, tmp_path, monkeypatch):
    monkeypatch.setattr(write_queue, "TIMEOUT_S", 0.3)
    with sqlite_app.app_context():
        writer = sqlite3.connect(db.engine.url.database, isolation_level=None, check_same_thread=False)
    writer.execute("BEGIN IMMEDIATE")
    with ThreadPoolExecutor(1) as pool:
        body = '    op.create_table("next", sa.Column("id", sa.Integer, primary_key=True))\n'
        migration = pool.submit(run_migration, sqlite_app, tmp_path, body)
        time.sleep(1)
        assert not migration.done()
        writer.execute("COMMIT")
        migration.result(30)
    assert writer.execute("SELECT count(*) FROM next").fetchone() == (0,)
    writer.close()


BUILDS_WAITING = """
SELECT pid FROM pg_stat_activity
WHERE query LIKE '%CONCURRENTLY%ix_jobs_note%' AND wait_event = 'virtualxid' AND pid <> pg_backend_pid()
"""


@pytest.fixture
def app(database, new_app):
    if database != "postgresql":
        pytest.skip("SQLite has a single writer, which waits for the migration")
    return new_app("postgresql", "locked")


def run_migration(app, folder, body):
    """Run a migration; closes all connections."""
    write_migration(folder, body)
    with app.app_context():
        command.upgrade(configuration_with(folder), "next")


@contextmanager
def connection_of(app):
    with app.app_context():
        url = db.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url) as connection:
        yield connection


def test_a_migration_that_gets_no_lock_lets_others_pass_and_starts_again(app, tmp_path, monkeypatch):
    monkeypatch.setattr(postgresql, "LOCK_TIMEOUT", "100ms")
    add_column = '    op.add_column("plans", sa.Column("motto", sa.String()))\n'
    with connection_of(app) as holder, connection_of(app) as reader, ThreadPoolExecutor(1) as pool:
        holder.execute("SELECT count(*) FROM plans")
        migration = pool.submit(run_migration, app, tmp_path, add_column)
        wait_until(lambda: holder.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone())
        started = time.monotonic()
        reader.execute("SELECT count(*) FROM plans")
        assert time.monotonic() - started < 1
        reader.rollback()
        holder.rollback()
        migration.result(30)
        assert reader.execute("SELECT motto FROM plans").fetchall() == []


def test_an_index_is_built_while_others_write_and_replaces_an_unfinished_one(app, tmp_path):
    with connection_of(app) as writer, connection_of(app) as other, ThreadPoolExecutor(1) as pool:
        writer.execute("CREATE INDEX ix_jobs_note ON jobs (lane)")  # as if an earlier attempt had been interrupted
        writer.commit()
        writer.execute("UPDATE jobs SET lane = lane")
        body = '    create_index_concurrently("ix_jobs_note", "jobs", ["last_error"])\n'
        migration = pool.submit(run_migration, app, tmp_path, body)
        wait_until(lambda: other.execute(BUILDS_WAITING).fetchone() or other.rollback())
        other.execute("SET lock_timeout = '500ms'; UPDATE jobs SET lane = lane")
        other.commit()
        writer.commit()
        migration.result(30)
        valid = "SELECT indisvalid, pg_get_indexdef(indexrelid) LIKE '%(last_error)' FROM pg_index"
        assert other.execute(f"{valid} WHERE indexrelid = 'ix_jobs_note'::regclass").fetchone() == (True, True)
