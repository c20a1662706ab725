"""Runs migrations: one at a time, each entirely or not at all, without losing child rows on SQLite."""

from typing import Any

import sqlalchemy as sa
from alembic import context
from flask import current_app

from streamsvc.storage.database import LOCK_TIMEOUT, db

ADVISORY_LOCK = 0x73747265  # "stre"
SEARCH_TABLES = "_fts"
LOCK_TIMEOUT_MS = 120_000
"""How long a migration on SQLite waits for another process that is migrating."""


def include_name(name: str | None, kind: str, parents: object) -> bool:
    """Ignore the internal tables of SQLite's full-text search."""
    return kind != "table" or SEARCH_TABLES not in (name or "")


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


def migrate_sqlite(connection: sa.Connection) -> None:
    """Take the write lock before reading the current revision, and run all migrations in one transaction.

    Rebuilding a parent table would cascade to its children, so foreign keys are off meanwhile and checked afterwards.
    """
    raw: Any = connection.connection.dbapi_connection
    raw.execute(f"PRAGMA busy_timeout={LOCK_TIMEOUT_MS}")
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


def migrate_postgresql(connection: sa.Connection) -> None:
    """Run the migrations under an advisory lock, so that only one process migrates."""
    connection.exec_driver_sql(f"SET lock_timeout = 0; SELECT pg_advisory_lock({ADVISORY_LOCK})")
    connection.exec_driver_sql(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
    connection.commit()
    try:
        migrate(connection)
    finally:
        connection.rollback()
        connection.exec_driver_sql(f"SELECT pg_advisory_unlock({ADVISORY_LOCK})")
        connection.commit()


if context.is_offline_mode():
    context.configure(dialect_name=current_app.extensions["migrate"].db.engine.dialect.name, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
else:
    with db.engine.connect() as connection:
        (migrate_sqlite if connection.dialect.name == "sqlite" else migrate_postgresql)(connection)
