"""Test databases: empty ones, and copies of a database that is filled once per run."""

import fcntl
import os
import sqlite3
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path

import sqlalchemy as sa

from streamsvc.storage import compiled_statements
from streamsvc.storage.database import db

SERVER_VARIABLE = "STREAMSVC_TEST_DATABASE_URL"
FILLED_VARIABLE = "STREAMSVC_TEST_FILLED_DATABASES"
"""A folder of SQLite databases that `filled_database` has filled in another run."""


def create_database(kind, folder, name, template_url=None):
    """Create a database and return its URL.

    It is empty, or a copy of the one at `template_url`, which must have no connections.
    """
    if kind == "sqlite":
        path = folder / f"{name}.sqlite3"
        if template_url:
            with (
                closing(sqlite3.connect(_database_name(template_url))) as source,
                closing(sqlite3.connect(path)) as copy,
            ):
                source.backup(copy)
        return f"sqlite:///{path}"
    server = sa.create_engine(os.environ[SERVER_VARIABLE].format("postgres"), isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(sa.text(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))
        clause = f' TEMPLATE "{_database_name(template_url)}" STRATEGY FILE_COPY' if template_url else ""
        connection.execute(sa.text(f'CREATE DATABASE "{name}"{clause}'))
    server.dispose()
    return os.environ[SERVER_VARIABLE].format(name)


def _database_name(url):
    return sa.make_url(url).database


def filled_database(kind, folder, fill):
    """The URL of a database filled by `fill(url)`: the first caller in the run fills it, others wait for it."""
    name = f"all_{fill.__name__}"
    if kind == "sqlite" and FILLED_VARIABLE in os.environ:
        filled = Path(os.environ[FILLED_VARIABLE], f"{kind}_{name}")
        if filled.exists():
            return filled.read_text()
    url_file = folder / f"{kind}_{name}"
    with exclusive_lock(folder / f"{kind}_{name}.lock"):
        if not url_file.exists():
            url = create_database(kind, folder, name)
            fill(url)
            url_file.write_text(url)
    return url_file.read_text()


@contextmanager
def exclusive_lock(path):
    """Hold an exclusive lock on the file within the block, among all processes."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@cache
def engine_without_constraints(url):
    """An engine for a PostgreSQL database whose connections check no foreign keys.

    A connection of the app that stopped checking them for a while would plan all its statements again.
    """
    options = {"connect_args": {"options": "-c session_replication_role=replica"}, "isolation_level": "AUTOCOMMIT"}
    return sa.create_engine(url, pool_size=1, pool_pre_ping=True, **options)


def close_app(app):
    """Close all database connections of the app."""
    return_connections()
    if replica := app.extensions.get("replica"):
        replica.stop()
    with app.app_context():
        for engine in db.engines.values():
            engine.dispose()


def return_connections():
    """Return the connections of this thread to their pools."""
    connections = compiled_statements._thread.by_engine
    while connections:
        connections.popitem()[1][0].close()
