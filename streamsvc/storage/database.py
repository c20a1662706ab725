"""The database: one handle, two ways to use it, and the column types that every table shares.

`db.session` is a unit of work: on SQLite it begins with BEGIN IMMEDIATE, so that what it read is still true when it
writes, and it is on disk when it commits (synchronous FULL, synchronous_commit on). Money goes this way.

`all_rows`, `one_row` and `affected` run one statement that is its own transaction: reads, and single guarded writes
that may be lost with the machine's power, but never half done (a heartbeat, a counter). A GET only ever goes this way,
but for `/readyz`, which tries whether a write would pass, and for the audit log's word that somebody was turned away.
"""

import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from flask import has_request_context, request
from flask_sqlalchemy import SQLAlchemy
from flask_sqlalchemy.session import Session as FlaskSession
from sqlalchemy import event
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import DeclarativeBase

from streamsvc import clock
from streamsvc.storage.fifo_lock import FifoLock

AUTOCOMMIT_BIND = "statements"
PRAGMAS = ("journal_mode=WAL", "foreign_keys=ON", "busy_timeout=5000", "mmap_size=268435456")
"""mmap_size, in bytes: connections read the file through one mapping instead of each keeping pages of its own."""
WRITE_LOCK_TIMEOUT_S, POLL_INTERVAL_S = 5.0, 0.001
"""How long a unit of work on SQLite waits for its turn, and how often it looks whether another process still writes."""
SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))
NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    metadata = sa.MetaData(naming_convention=NAMING_CONVENTION)


class Session(FlaskSession):
    """A unit of work; in a request that may change nothing, it only reads."""

    def get_bind(self, mapper=None, clause=None, bind=None, **kwargs):
        if bind is None and has_request_context() and request.method in SAFE_METHODS:
            return db.engines[AUTOCOMMIT_BIND]
        return super().get_bind(mapper=mapper, clause=clause, bind=bind, **kwargs)


db = SQLAlchemy(model_class=Base, session_options={"class_": Session})


class UtcTime(sa.TypeDecorator):
    """A moment in UTC. Refuses a naive datetime; never returns one."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value, dialect):
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"naive datetime {value!r}")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value, dialect):
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


Json = sa.JSON().with_variant(JSONB(), "postgresql")
"""A JSON document: JSONB on PostgreSQL, text on SQLite."""

_DIGITS = "0123456789abcdefghijklmnopqrstuv"
_PAIRS, _SHIFTS = [one + other for one in _DIGITS for other in _DIGITS], range(120, -1, -10)
"""Base 32 hex, two digits at a time."""
_last_id = 0
_id_lock = threading.Lock()


def new_id(prefix: str) -> str:
    """A public id such as `sub_06f1…`: 48 bits of milliseconds, 80 of chance; 26 characters that sort by creation.

    Within one process ids only grow; each step is at least one and at most 2**64 where a millisecond gives several.
    """
    global _last_id
    with _id_lock:
        fresh = clock.wall_time_ms() << 80 | secrets.randbits(80)
        _last_id = fresh if fresh > _last_id else _last_id + 1 + secrets.randbits(64)
        number = _last_id
    return f"{prefix}_{''.join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])}"


def init_app(app, settings) -> None:
    """Give the app its two engines."""
    target = make_url(settings.database_url)
    if target.get_backend_name() == "sqlite" and target.database:
        Path(target.database).parent.mkdir(parents=True, exist_ok=True)
    pool = {"pool_size": settings.threads, "max_overflow": 4, "pool_timeout": 2, "json_serializer": _encode_json}
    if target.get_backend_name() == "postgresql":
        pool |= {"pool_pre_ping": True, "pool_size": max(4, settings.threads // 2), "max_overflow": settings.threads}
        pool["connect_args"] = {"connect_timeout": 2, "tcp_user_timeout": 3000}
    app.config["SQLALCHEMY_DATABASE_URI"] = target
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = pool
    app.config["SQLALCHEMY_BINDS"] = {AUTOCOMMIT_BIND: pool | {"url": target, "isolation_level": "AUTOCOMMIT"}}
    db.init_app(app)
    with app.app_context():
        _configure_connections(db.engine, synchronous="FULL", commit="on")
        _configure_connections(db.engines[AUTOCOMMIT_BIND], synchronous="NORMAL", commit="off")


def _configure_connections(engine, synchronous: str, commit: str) -> None:
    """What each new connection is told."""
    if engine.dialect.name == "postgresql":

        @event.listens_for(engine, "connect")
        def connected(raw, _):
            with raw.cursor() as cursor:
                cursor.execute(
                    "SELECT set_config('timezone', 'UTC', false), set_config('synchronous_commit', %s, false),"
                    " set_config('statement_timeout', '30s', false)",
                    (commit,),
                )
            raw.commit()

        return

    @event.listens_for(engine, "connect")
    def opened(raw, _):
        raw.isolation_level = None  # the driver opens no transactions of its own: it would do so after the first read
        for pragma in (*PRAGMAS, f"synchronous={synchronous}"):
            raw.execute(f"PRAGMA {pragma}")

    if synchronous == "FULL":
        _serialize_writers(engine)


def _serialize_writers(engine) -> None:
    """Each unit of work on SQLite waits its turn among the threads of this process, then for other processes.

    Left to itself, SQLite looks for a free moment after ever longer naps: where many threads write, some never find
    one. Here only one thread of each process looks, and often.
    """
    turns = _write_locks[engine] = FifoLock()

    @event.listens_for(engine, "begin")
    def begun(connection):
        if not turns.acquire(WRITE_LOCK_TIMEOUT_S):
            raise sa.exc.TimeoutError("too many units of work wait")
        connection.info["has_the_turn"] = True
        _begin_immediate(connection)

    @event.listens_for(engine, "checkin")
    @event.listens_for(engine, "invalidate")
    def left(raw, record, *why):
        if record.info.pop("has_the_turn", False):
            turns.release()


_write_locks: WeakKeyDictionary[sa.Engine, FifoLock] = WeakKeyDictionary()
"""Those of the threads of this process on SQLite, by the engine of the units of work."""


def _begin_immediate(connection) -> None:
    """Begin to write on SQLite, once no other process does."""
    raw, deadline = connection.connection.dbapi_connection, time.monotonic() + WRITE_LOCK_TIMEOUT_S
    raw.execute("PRAGMA busy_timeout=0")
    while not _try_begin_immediate(raw) and time.monotonic() < deadline:
        time.sleep(POLL_INTERVAL_S)
    raw.execute("PRAGMA busy_timeout=5000")
    if not raw.in_transaction:
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # fails again, and SQLAlchemy tells how


def _try_begin_immediate(raw) -> bool:
    try:
        raw.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        return error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY
    return True


def fetch_all(clause, parameters=None) -> list[sa.Row]:
    """Every row that one statement, in a transaction of its own, gives."""
    with db.engines[AUTOCOMMIT_BIND].connect() as connection:
        return connection.execute(clause, parameters).all()


def fetch_one(clause, parameters=None) -> sa.Row | None:
    """The first row that one statement, in a transaction of its own, gives; None where it gives none."""
    with db.engines[AUTOCOMMIT_BIND].connect() as connection:
        return connection.execute(clause, parameters).first()


def execute_write(clause, parameters=None) -> int:
    """How many rows one writing statement, in a transaction of its own, touched."""
    with db.engines[AUTOCOMMIT_BIND].connect() as connection:
        # an INSERT's count is kept only where asked for; without, PostgreSQL's says -1
        return connection.execute(clause, parameters, execution_options={"preserve_rowcount": True}).rowcount


@contextmanager
def write_transaction() -> Iterator[sa.Connection]:
    """A connection for a few writing statements in a short transaction; what raises takes all of them back.

    On SQLite it queues as units of work do, who would otherwise always come before it: for what is written while many
    others write, too. Not within a unit of work.
    """
    turns = _write_locks.get(db.engine)
    with db.engines[AUTOCOMMIT_BIND].connect() as connection:
        if turns and not turns.acquire(WRITE_LOCK_TIMEOUT_S):
            raise sa.exc.TimeoutError("too many write")
        try:
            if turns:
                _begin_immediate(connection)
            else:
                connection.exec_driver_sql("BEGIN")
            try:
                yield connection
            except BaseException:
                connection.exec_driver_sql("ROLLBACK")
                raise
            connection.exec_driver_sql("COMMIT")
        finally:
            if turns:
                turns.release()


def lock_row(model, key):
    """The row under `key`, held until the commit; None where there is none.

    PostgreSQL locks the row; on SQLite the whole unit of work already is alone in writing.
    """
    return db.session.get(model, key, with_for_update=True, populate_existing=True)


def is_unavailable(error: Exception) -> bool:
    """Whether the database could not be reached or did not answer in time, rather than refused what it was asked."""
    return isinstance(error, sa.exc.TimeoutError | OperationalError) or (
        isinstance(error, DBAPIError) and error.connection_invalidated
    )


def insert(table):
    """INSERT of the dialect in use: both know `on_conflict_do_nothing` and `on_conflict_do_update`."""
    if db.engine.dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert as dialect_insert
    else:
        from sqlalchemy.dialects.postgresql import insert as dialect_insert
    return dialect_insert(table)


def format_utc(moment: datetime | None) -> str | None:
    """RFC 3339 with Z, to the microsecond where there are any: `2026-01-31T12:00:00Z`."""
    return moment and moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _encode_json(value) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, sort_keys=True)
