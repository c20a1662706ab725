"""Databases for the tests: empty ones, and copies of what is made once in a run and asked for by many."""

import fcntl
import os
import sqlite3
from contextlib import closing, contextmanager

import sqlalchemy as sa

SERVER = "STREAMSVC_TEST_DATABASE_URL"


def create(kind, folder, name, like=None):
    """Make a database, empty or a copy of that at the URL `like`, to which nobody may be connected; its URL."""
    if kind == "sqlite":
        path = folder / f"{name}.sqlite3"
        if like:
            with closing(sqlite3.connect(_name(like))) as made, closing(sqlite3.connect(path)) as copy:
                made.backup(copy)
        return f"sqlite:///{path}"
    server = sa.create_engine(os.environ[SERVER].format("postgres"), isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(sa.text(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))
        template = f' TEMPLATE "{_name(like)}"' if like else ""
        connection.execute(sa.text(f'CREATE DATABASE "{name}"{template}'))
    server.dispose()
    return os.environ[SERVER].format(name)


def _name(url):
    return sa.make_url(url).database


def filled(kind, folder, fill):
    """The URL of a database that `fill(url)` filled: whoever asks first in the run has it filled, the others wait."""
    name = f"all_{fill.__name__}"
    told = folder / f"{kind}_{name}"
    with alone(folder / f"{kind}_{name}.lock"):
        if not told.exists():
            url = create(kind, folder, name)
            fill(url)
            told.write_text(url)
    return told.read_text()


@contextmanager
def alone(path):
    """One process after the other."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
