"""Continuous replication as docs/backup.md describes it: Litestream for SQLite, WAL archiving for PostgreSQL."""

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from streamsvc.models import Restore
from streamsvc.storage.database import fetch_one
from tests.conftest import migrate_database
from tests.worlds.backups import app_on, succeed
from tests.worlds.postgres import Server, find_programs

LITESTREAM = shutil.which("litestream", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
TIMEOUT_S = 120
INSERT = (
    "INSERT INTO audit_events (seq, at, action, details_digest, previous, hash)"
    " VALUES ({}, '2026-01-15 12:00:00', 'test', '', '', '')"
)
EVENTS = "SELECT seq FROM audit_events ORDER BY seq"


def wait_until(condition):
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.2)


def require_secured(url):
    """Finish a restore by other means, and see that charging is on hold."""
    as_of = f"{datetime.now(UTC):%FT%TZ}"
    succeed(url, "restore", "--in-place", "--as-of", as_of, "--yes")
    with app_on(url) as app, app.app_context():
        assert fetch_one(Restore.select_open())[0] is not None


@pytest.mark.skipif(LITESTREAM is None, reason="Litestream is missing: pip install 'streamsvc[litestream]'")
def test_litestream_has_what_was_committed_when_the_disk_is_lost(new_database, database, tmp_path):
    if database != "sqlite":
        pytest.skip("Litestream is for SQLite")
    url, replica = new_database("sqlite", "streamed", migrate_database), f"file://{tmp_path / 'replica'}"
    path = Path(url.removeprefix("sqlite:///"))
    restored = tmp_path / "restored.sqlite3"

    def restore():
        restored.unlink(missing_ok=True)
        command = [LITESTREAM, "restore", "-o", restored, replica]
        subprocess.run(command, check=False, capture_output=True)
        return restored.exists()

    with app_on(url), closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode=WAL")
        with (tmp_path / "log").open("w") as log:
            process = subprocess.Popen([LITESTREAM, "replicate", path, replica], stdout=log, stderr=log)
        try:
            wait_until(restore)
            for number in range(1, 51):
                writer.execute(INSERT.format(number))
            wait_until(lambda: restore() and len(read_events(restored)) == 50)
        finally:
            process.kill()
            process.wait()
    shutil.rmtree(path.parent)  # the disk is lost
    require_secured(f"sqlite:///{restored}")


def read_events(path):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(EVENTS).fetchall()


def test_postgresql_returns_to_a_moment(database, tmp_path):
    if database != "postgresql":
        pytest.skip("WAL archiving is for PostgreSQL")
    settings = {"wal_level": "replica", "max_wal_senders": "2", "archive_mode": "on", "fsync": "off"}
    server = Server(find_programs(), **settings)
    try:
        archive, base = server.folder / "archive", server.folder / "base"
        own(archive, server)
        with (server.data / "postgresql.conf").open("a") as file:
            file.write(f"archive_command = 'test ! -f {archive}/%f && cp %p {archive}/%f'\n")
        server.start()
        with psycopg.connect(server.url.format("postgres"), autocommit=True) as connection:
            connection.execute("CREATE DATABASE archived")
        url = server.url.format("archived")
        migrate_database(url)
        command = [server.programs / "pg_basebackup", "-h", server.folder, "-U", "postgres", "-D", base, "-c", "fast"]
        subprocess.run(command, check=True, capture_output=True, cwd=server.folder, **server.user)
        moment = write_before_and_after(url)
        server.crash()
        shutil.rmtree(server.data)
        base.rename(server.data)
        with (server.data / "postgresql.conf").open("a") as file:
            file.write(f"restore_command = 'cp {archive}/%f %p'\nrecovery_target_time = '{moment}'\n")
            file.write("recovery_target_action = 'promote'\narchive_mode = off\n")
        own(server.data / "recovery.signal", server, is_file=True)
        server.options = server.options.replace("archive_mode=on", "archive_mode=off")
        server.start()
        with psycopg.connect(url, autocommit=True) as connection:
            wait_until(lambda: not connection.execute("SELECT pg_is_in_recovery()").fetchone()[0])
            assert connection.execute(EVENTS).fetchall() == [(1,)], "the second was written after the moment"
        require_secured(url)
    finally:
        if (server.data / "postmaster.pid").exists():
            server.crash()
        shutil.rmtree(server.folder, ignore_errors=True)


def own(path, server, is_file=False):
    """Create a folder or an empty file that belongs to the server's user."""
    path.touch() if is_file else path.mkdir()
    if server.user:
        shutil.chown(path, "nobody", "nogroup")


def write_before_and_after(url):
    """Write a row, and another one after the moment that is returned; both reach the archive."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(INSERT.format(1))
        time.sleep(1)
        moment = connection.execute("SELECT now()::text").fetchone()[0]
        time.sleep(1)
        connection.execute(INSERT.format(2))
        segment = connection.execute("SELECT pg_walfile_name(pg_switch_wal())").fetchone()[0]
        archived = "SELECT last_archived_wal >= %s FROM pg_stat_archiver"
        wait_until(lambda: connection.execute(archived, [segment]).fetchone()[0])
    return moment
