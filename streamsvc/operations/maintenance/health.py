"""Health checks, used by `/readyz` and by `streamsvc serve`."""

import sqlite3
import threading
import time
from functools import cache
from pathlib import Path

import sqlalchemy as sa
from alembic.script import ScriptDirectory
from flask import current_app

from streamsvc import clock
from streamsvc.models import HealthCheck
from streamsvc.operations.maintenance.worker_loop import is_worker_alive
from streamsvc.storage.database import AUTOCOMMIT_BIND, db, fetch_one, insert, new_id
from streamsvc.storage.leases import database_time
from streamsvc.storage.outage_log import was_refused_for_space
from streamsvc.storage.replica import find_replica
from streamsvc.worker.restore_hold import find_restore_hold

WRITE_INTERVAL_S, WRITE_TIMEOUT_S, BUSY_TIMEOUT_MS = 1.0, 2.0, 200
FORGET_AFTER_S = 3600.0


def is_schema_current() -> bool:
    """Whether the database has at least the schema that this code needs.

    A numbered revision that this code does not know is a newer one: during a rolling upgrade, the old processes keep
    serving.
    """
    if not sa.inspect(db.engines[AUTOCOMMIT_BIND]).has_table("alembic_version"):
        return False
    row = fetch_one(sa.text("SELECT version_num FROM alembic_version"))
    known = list_revisions(current_app.extensions["migrate"].directory)
    return row is not None and (row[0] == known[0] or (row[0].isdecimal() and int(row[0]) > int(known[0])))


@cache
def list_revisions(folder: str) -> tuple[str, ...]:
    """Return the ids of the migrations in a folder, newest first."""
    return tuple(script.revision for script in ScriptDirectory(str(Path(folder))).walk_revisions())


class WriteCheck:
    """Tests with a committed write whether the database accepts writes, at most once per `WRITE_INTERVAL_S`."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.id = new_id("hlt")
        self.checked_at = float("-inf")
        self.is_writable = False

    def run(self) -> bool:
        """Write, or return the result of a moment ago. False while an earlier check hangs, or others find no space."""
        if was_refused_for_space() or not self.lock.acquire(timeout=WRITE_TIMEOUT_S):
            return False
        try:
            if time.monotonic() - self.checked_at >= WRITE_INTERVAL_S:
                self.is_writable = False
                try:
                    self.is_writable = self._write()
                finally:
                    self.checked_at = time.monotonic()
            return self.is_writable
        finally:
            self.lock.release()

    def _write(self) -> bool:
        now = database_time(sa.literal(0.0))
        upsert = insert(HealthCheck).values(id=self.id, checked_at=now)
        upsert = upsert.on_conflict_do_update(index_elements=["id"], set_={"checked_at": now})
        statements: list[sa.Executable] = [upsert]
        if self.checked_at < 0:  # the process's first check: forget those of processes that ended
            is_old = HealthCheck.checked_at < database_time(sa.literal(-FORGET_AFTER_S))
            statements.append(sa.delete(HealthCheck).where(is_old))
        with db.engines[AUTOCOMMIT_BIND].connect() as connection:
            if db.engine.dialect.name == "sqlite":
                _write_unless_busy(connection, statements)
            else:
                for statement in statements:
                    connection.execute(statement)
        return True


def _write_unless_busy(connection: sa.Connection, statements: list[sa.Executable]) -> None:
    """Write on SQLite. A lock that another transaction holds for long is no sign that writes are refused."""
    (timeout_ms,) = connection.exec_driver_sql("PRAGMA busy_timeout").one()
    connection.exec_driver_sql(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    try:
        for statement in statements:
            connection.execute(statement)
    except sa.exc.OperationalError as error:
        if getattr(error.orig, "sqlite_errorcode", None) != sqlite3.SQLITE_BUSY:
            raise
    finally:
        connection.exec_driver_sql(f"PRAGMA busy_timeout={timeout_ms}")


def is_database_writable() -> bool:
    """Whether the database accepts writes. Raises SQLAlchemyError if it does not."""
    return current_app.extensions.setdefault("write_check", WriteCheck()).run()


def run_health_checks() -> dict[str, bool]:
    """Name of each check -> whether it passed. Never raises."""
    results = {}
    for name, check in (("database", is_database_writable), ("schema", is_schema_current), ("worker", is_worker_alive)):
        try:
            results[name] = check()
        except sa.exc.SQLAlchemyError:
            results[name] = False
    results["clock"] = clock.find_doubt() is None
    results["reconciled"] = find_restore_hold() is None
    if replica := find_replica():
        results["replica"] = replica.is_usable()
    return results
