"""Runs migrations: one process at a time, each migration entirely or not at all, and never in the way for long.

On PostgreSQL the engine is one of its own: a migration may take longer than a request's statement, but must not wait
long for a lock, since everyone who comes after it would wait too. If it does not get its locks it starts again.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from alembic import context
from flask import current_app
from sqlalchemy import event

from streamsvc.storage.database import db
from streamsvc.storage.postgresql import LOCK_TIMEOUT, configure_if_direct

ADVISORY_LOCK = 0x73747265  # "stre"
FULL_TEXT_SEARCH = "_fts"
WAIT_TIMEOUT_S, POLL_INTERVAL_S = 600.0, 0.2
"""How long a process waits for another that is migrating."""
LOCK_ATTEMPTS, RETRY_AFTER_S = 30, 2.0
"""How often a migration tries to get its locks on PostgreSQL, and the pause in which the others go ahead."""
IS_LOCKED = "55P03"
"""PostgreSQL's code for a lock that was not available in time."""


def include_name(name: str | None, kind: str, parents: object) -> bool:
    """Ignore what only one database has for the full-text search: SQLite's internal tables, PostgreSQL's index."""
    return FULL_TEXT_SEARCH not in (name or "")


def migrate(connection: sa.Connection) -> None:
    """Run the migrations on this connection, each in a transaction."""
    context.configure(
        connection=connection,
        target_metadata=db.metadata,
        transactional_ddl=True,
        transaction_per_migration=True,
        include_name=include_name,
        compare_server_default=False,
    )
    with context.begin_transaction():
        context.run_migrations()


def migrate_sqlite() -> None:
    """Take the write lock before reading the current revision, and run all migrations in one transaction.

    Rebuilding a parent table would cascade to its children, so foreign keys are off meanwhile and checked afterwards.
    """
    with db.engine.connect() as connection:
        raw: Any = connection.connection.dbapi_connection
        raw.execute(f"PRAGMA busy_timeout={int(1000 * WAIT_TIMEOUT_S)}")
        raw.execute("PRAGMA foreign_keys=OFF")
        if raw.execute("PRAGMA foreign_keys").fetchone()[0]:
            raise RuntimeError("could not turn SQLite's foreign keys off; nothing was migrated")
        try:
            with connection.begin():
                migrate(connection)
            if violations := raw.execute("PRAGMA foreign_key_check").fetchall():
                raise RuntimeError(f"the migration left rows with dangling foreign keys: {violations[:5]}")
        finally:
            raw.execute("PRAGMA foreign_keys=ON")


def migrate_postgresql() -> None:
    """Run the migrations while no other process does. Raises OperationalError if a lock is held for too long."""
    engine = sa.create_engine(db.engine.url, poolclass=sa.NullPool)

    @event.listens_for(engine, "connect")
    def configure(raw: Any, _: object) -> None:
        raw.prepare_threshold = None
        configure_if_direct(raw, statement_timeout="0")
        raw.commit()

    @event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'; SET LOCAL statement_timeout = 0")

    with only_migration(engine), engine.connect() as connection:
        for attempt in range(1, LOCK_ATTEMPTS + 1):
            try:
                migrate(connection)
                return
            except sa.exc.OperationalError as error:
                connection.rollback()
                if getattr(error.orig, "sqlstate", None) != IS_LOCKED or attempt == LOCK_ATTEMPTS:
                    raise
                time.sleep(RETRY_AFTER_S)


@contextmanager
def only_migration(engine: sa.Engine) -> Iterator[None]:
    """Hold the lock of migrations within the block, in a transaction on a connection of its own.

    A transaction holds it, not a session, which a pooler would share. It is polled: a statement that waits for a lock
    has a snapshot, and building an index concurrently waits for all older snapshots. Raises TimeoutError.
    """
    deadline = time.monotonic() + WAIT_TIMEOUT_S
    with engine.connect() as connection:
        while not connection.scalar(sa.select(sa.func.pg_try_advisory_xact_lock(ADVISORY_LOCK))):
            connection.rollback()
            if time.monotonic() > deadline:
                raise TimeoutError(f"another process has been migrating for {WAIT_TIMEOUT_S:.0f} s")
            time.sleep(POLL_INTERVAL_S)
        connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
        yield


if context.is_offline_mode():
    context.configure(dialect_name=current_app.extensions["migrate"].db.engine.dialect.name, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
elif db.engine.dialect.name == "sqlite":
    migrate_sqlite()
else:
    migrate_postgresql()
