"""Runs migrations: one process at a time, each migration entirely or not at all, and never in the way for long.

On PostgreSQL the engine is one of its own: a migration may take longer than a request's statement, but must not wait
long for a lock, since everyone who comes after it would wait too. If it does not get its locks it starts again.
"""

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from alembic import context
from alembic.runtime.migration import MigrationContext
from flask import current_app
from sqlalchemy import event

from streamsvc.storage.database import configure_sqlite, db
from streamsvc.storage.postgresql import LOCK_TIMEOUT, configure_if_direct

ADVISORY_LOCK = 0x73747265  # "stre"
FULL_TEXT_SEARCH = "_fts"
WAIT_TIMEOUT_S, POLL_INTERVAL_S = 600.0, 0.2
"""How long a process waits for another that is migrating."""
MAX_PAUSE_S = 0.1
"""SQLite's write lock is free between two migrations for as long as the first one held it, and no longer than this."""
LOCK_ATTEMPTS, RETRY_AFTER_S = 30, 2.0
"""How often a migration tries to get its locks on PostgreSQL, and the pause in which the others go ahead."""
IS_LOCKED = "55P03"
"""PostgreSQL's code for a lock that was not available in time."""


def include_name(name: str | None, kind: str, parents: object) -> bool:
    """Ignore what only one database has for the full-text search: SQLite's internal tables, PostgreSQL's index."""
    return FULL_TEXT_SEARCH not in (name or "")


def migrate(connection: sa.Connection, on_version_apply: Callable[..., None] | None = None) -> None:
    """Run the migrations on this connection, each in a transaction unless there is one already.

    `on_version_apply` is called after each.
    """
    context.configure(
        connection=connection,
        target_metadata=db.metadata,
        transactional_ddl=True,
        transaction_per_migration=True,
        include_name=include_name,
        compare_server_default=False,
        on_version_apply=on_version_apply,
    )
    with context.begin_transaction():
        context.run_migrations()


class Overtaken(Exception):
    """Another process has run the next migration, so that a new plan is needed."""


def migrate_sqlite() -> None:
    """Run the migrations, each in a transaction that begins with the write lock; others may write in between.

    Rebuilding a parent table would cascade to its children, so foreign keys are off meanwhile and checked afterwards.
    """
    engine = sa.create_engine(db.engine.url, poolclass=sa.NullPool)

    @event.listens_for(engine, "connect")
    def configure(raw: Any, _: object) -> None:
        configure_sqlite(raw, None)
        raw.execute(f"PRAGMA busy_timeout={int(1000 * WAIT_TIMEOUT_S)}")
        raw.execute("PRAGMA foreign_keys=OFF")
        if raw.execute("PRAGMA foreign_keys").fetchone()[0]:
            raise RuntimeError("could not turn SQLite's foreign keys off; nothing was migrated")

    @event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    with engine.connect() as connection:
        while True:
            try:
                with connection.begin():
                    migrate(connection, let_others_write)
                break
            except Overtaken:
                continue
        raw_connection: Any = connection.connection.dbapi_connection  # by which the check is in no transaction
        if violations := raw_connection.execute("PRAGMA foreign_key_check").fetchall():
            raise RuntimeError(f"the migration left rows with dangling foreign keys: {violations[:5]}")


_began_at = time.monotonic()


def let_others_write(ctx: MigrationContext, heads: Collection[str], **_: object) -> None:
    """Commit a migration, and start the next one's transaction after those who wait for SQLite's write lock.

    Raises Overtaken.
    """
    global _began_at
    assert ctx.connection is not None
    raw: Any = ctx.connection.connection.dbapi_connection
    held_s = time.monotonic() - _began_at
    raw.execute("COMMIT")
    time.sleep(min(held_s, MAX_PAUSE_S))
    raw.execute("BEGIN IMMEDIATE")
    _began_at = time.monotonic()
    if set(ctx.get_current_heads()) != set(heads):
        raise Overtaken


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
