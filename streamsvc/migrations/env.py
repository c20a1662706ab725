"""How a migration runs: one at a time on PostgreSQL, whole or not at all on both, children safe on SQLite."""

from alembic import context
from flask import current_app

from streamsvc.storage.database import db

ONE_AT_A_TIME = 0x73747265  # the key of PostgreSQL's advisory lock: "stre"
SEARCH_TABLES = "_fts"
PATIENCE_MS = 120_000
"""How long a migration waits for another process that migrates, on SQLite."""


def include_name(name, kind, parents):
    """Leave out the tables that SQLite's full-text search keeps for itself."""
    return kind != "table" or SEARCH_TABLES not in (name or "")


def migrate(connection):
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


def migrate_sqlite(connection):
    """All in one transaction that is alone in writing before it looks where the database stands.

    Rebuilding a parent table would cascade into its children, so the keys rest and are all checked afterwards.
    """
    raw = connection.connection.dbapi_connection
    raw.execute(f"PRAGMA busy_timeout={PATIENCE_MS}")
    raw.execute("PRAGMA foreign_keys=OFF")
    if raw.execute("PRAGMA foreign_keys").fetchone()[0]:
        raise RuntimeError("SQLite kept its foreign keys on; nothing was migrated")
    try:
        with connection.begin():
            migrate(connection)
        if broken := raw.execute("PRAGMA foreign_key_check").fetchall():
            raise RuntimeError(f"the migration left rows without their parents: {broken[:5]}")
    finally:
        raw.execute("PRAGMA foreign_keys=ON")


def migrate_postgresql(connection):
    connection.exec_driver_sql(f"SELECT pg_advisory_lock({ONE_AT_A_TIME})")
    connection.commit()
    try:
        migrate(connection)
    finally:
        connection.rollback()
        connection.exec_driver_sql(f"SELECT pg_advisory_unlock({ONE_AT_A_TIME})")
        connection.commit()


if context.is_offline_mode():
    context.configure(dialect_name=current_app.extensions["migrate"].db.engine.dialect.name, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
else:
    with db.engine.connect() as connection:
        (migrate_sqlite if connection.dialect.name == "sqlite" else migrate_postgresql)(connection)
