"""Databases for the tests: empty ones, and copies of what is made once in a run and asked for by many."""

import fcntl
import os
import sqlite3
from contextlib import closing, contextmanager

import sqlalchemy as sa

SERVER_VARIABLE = "STREAMSVC_TEST_DATABASE_URL"


def create_database(kind, folder, name, like=None):
    """Make a database, empty or a copy of that at the URL `like`, to which nobody may be connected; its URL."""
    if kind == "sqlite":
        path = folder / f"{name}.sqlite3"
        if like:
            with closing(sqlite3.connect(_database_name(like))) as made, closing(sqlite3.connect(path)) as copy:
                made.backup(copy)
        return f"sqlite:///{path}"
    server = sa.create_engine(os.environ[SERVER_VARIABLE].format("postgres"), isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(sa.text(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))
        template = f' TEMPLATE "{_database_name(like)}"' if like else ""
        connection.execute(sa.text(f'CREATE DATABASE "{name}"{template}'))
    server.dispose()
    return os.environ[SERVER_VARIABLE].format(name)


def _database_name(url):
    return sa.make_url(url).database


def filled_database(kind, folder, fill):
    """The URL of a database that `fill(url)` filled: whoever asks first in the run has it filled, the others wait."""
    name = f"all_{fill.__name__}"
    told = folder / f"{kind}_{name}"
    with exclusive_lock(folder / f"{kind}_{name}.lock"):
        if not told.exists():
            url = create_database(kind, folder, name)
            fill(url)
            told.write_text(url)
    return told.read_text()


@contextmanager
def exclusive_lock(path):
    """One process after the other."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
