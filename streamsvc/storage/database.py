"""The database: one handle with two ways to use it, and the column types shared by all tables.

`db.session` is for transactions with several statements: on SQLite it starts with BEGIN IMMEDIATE, so that what it read
is still true when it writes, and its commits are durable (synchronous=FULL, synchronous_commit=on). Money is always
written this way.

`fetch_all`, `fetch_one` and `execute_write` run one statement in a transaction of its own: reads, and single guarded
writes that a power failure may lose but never leaves half done (a heartbeat, a counter). A GET request only uses these,
except `/readyz`, which tests whether the database is writable, and the audit entry for a denied request.
"""

import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, overload
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from flask import Flask, has_request_context, request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import event
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, NoResultFound, OperationalError
from sqlalchemy.orm import DeclarativeBase

from streamsvc import clock
from streamsvc.storage import lock_order
from streamsvc.storage.fifo_lock import FifoLock
from streamsvc.storage.unit_of_work import DIALECT_INSERTS, BatchingSession

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite

    from streamsvc.settings import Settings

AUTOCOMMIT_BIND = "statements"
PRAGMAS = ("journal_mode=WAL", "foreign_keys=ON", "busy_timeout=5000", "mmap_size=268435456")
"""mmap_size in bytes: connections share one mapping of the file instead of caching pages separately."""
WRITE_LOCK_TIMEOUT_S, POLL_INTERVAL_S = 5.0, 0.001
"""How long a transaction waits for SQLite's write lock, and how often it checks on other processes."""
SQLITE_TIME_FUNCTION = "wall_time"
"""SQL function on SQLite: the machine's time, plus a number of seconds."""
LOCK_TIMEOUT = "2s"
"""How long a statement waits for a lock on PostgreSQL."""
SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))
NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    __table__: ClassVar[sa.Table]
    metadata = sa.MetaData(naming_convention=NAMING_CONVENTION)


Model = TypeVar("Model", bound=Base)
Parameters = Mapping[str, Any]


class DatabaseSession(BatchingSession):
    """A session that uses the read-only path (`AUTOCOMMIT_BIND`) in requests with a safe method."""

    def get_bind(self, mapper: Any = None, clause: Any = None, bind: Any = None, **kwargs: Any) -> Any:
        if bind is None and has_request_context() and request.method in SAFE_METHODS:
            return db.engines[AUTOCOMMIT_BIND]
        return super().get_bind(mapper=mapper, clause=clause, bind=bind, **kwargs)


db = SQLAlchemy(model_class=Base, session_options={"class_": DatabaseSession})


class UtcTime(sa.TypeDecorator[datetime]):
    """An aware datetime in UTC. Binding a naive datetime raises ValueError."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"naive datetime {value!r}")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


Json = sa.JSON().with_variant(JSONB(), "postgresql")
"""A JSON document: JSONB on PostgreSQL, text on SQLite."""

_DIGITS = "0123456789abcdefghijklmnopqrstuv"
_PAIRS, _SHIFTS = [high + low for high in _DIGITS for low in _DIGITS], range(120, -1, -10)
"""Base 32 hex, two digits at a time."""
_last_id = 0
_id_lock = threading.Lock()


def new_id(prefix: str) -> str:
    """Generate a public id such as `sub_06f1…`: 26 characters that sort by creation.

    They encode 48 bits of milliseconds and 80 random bits. Ids only grow within a process: if a millisecond needs
    several, each exceeds the last by 1 to 2**64.
    """
    global _last_id
    with _id_lock:
        candidate = clock.wall_time_ms() << 80 | secrets.randbits(80)
        _last_id = candidate if candidate > _last_id else _last_id + 1 + secrets.randbits(64)
        number = _last_id
    return f"{prefix}_{''.join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])}"


def init_app(app: Flask, settings: "Settings") -> None:
    """Set up the two engines: the default one for transactions, and `AUTOCOMMIT_BIND` for single statements."""
    url = make_url(settings.database_url)
    if url.get_backend_name() == "sqlite" and url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {"pool_size": settings.threads, "max_overflow": 4, "pool_timeout": 2}
    options["json_serializer"] = _encode_json
    if url.get_backend_name() == "postgresql":
        options |= {"pool_pre_ping": True, "pool_size": max(4, settings.threads // 2), "max_overflow": settings.threads}
        options["connect_args"] = {"connect_timeout": 2, "tcp_user_timeout": 3000}
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = options
    # A thread may hold one connection for compiled statements, and wait with another for a lock. Whoever has the lock
    # must get a third all the same, so the pool never is what they wait for.
    statements = {"url": url, "isolation_level": "AUTOCOMMIT", "max_overflow": 2 * settings.threads + 4}
    app.config["SQLALCHEMY_BINDS"] = {AUTOCOMMIT_BIND: options | statements}
    db.init_app(app)
    if settings.sandbox:
        lock_order.check_lock_order(DatabaseSession)
    with app.app_context():
        _configure_connections(db.engine, synchronous="FULL", commit="on")
        _configure_connections(db.engines[AUTOCOMMIT_BIND], synchronous="NORMAL", commit="off")
        if db.engine.dialect.name == "postgresql":
            from streamsvc.storage.hang_watchdog import HangWatchdog  # the driver is optional

            watchdog = HangWatchdog()
            for engine in (db.engine, db.engines[AUTOCOMMIT_BIND]):
                watchdog.watch(engine)


def _configure_connections(engine: sa.Engine, synchronous: str, commit: str) -> None:
    """Set the options of each new connection.

    These are durability and, on PostgreSQL, the time zone, a statement timeout of 30 s, and how long a statement waits
    for a lock.
    """
    if engine.dialect.name == "postgresql":

        @event.listens_for(engine, "connect")
        def configure_postgresql(raw: Any, _: object) -> None:
            with raw.cursor() as cursor:
                cursor.execute(
                    "SELECT set_config('timezone', 'UTC', false), set_config('synchronous_commit', %s, false),"
                    " set_config('statement_timeout', '30s', false), set_config('lock_timeout', %s, false)",
                    (commit, LOCK_TIMEOUT),
                )
            raw.commit()

        return

    @event.listens_for(engine, "connect")
    def configure_sqlite(raw: Any, _: object) -> None:
        raw.isolation_level = None  # the driver itself would open a transaction only after the first read
        for pragma in (*PRAGMAS, f"synchronous={synchronous}"):
            raw.execute(f"PRAGMA {pragma}")
        raw.create_function(SQLITE_TIME_FUNCTION, 1, _format_wall_time)

    if synchronous == "FULL":
        _serialize_writers(engine)


def _format_wall_time(plus_s: float) -> str:
    """Format the machine's time, plus some seconds, as SQLite stores it."""
    return (clock.wall_time() + timedelta(seconds=plus_s)).strftime("%Y-%m-%d %H:%M:%S.%f")


def _serialize_writers(engine: sa.Engine) -> None:
    """Queue SQLite's write transactions, first among the threads of this process, then among processes.

    By itself, SQLite retries after ever longer pauses, so with many writing threads some never get the lock. Here only
    one thread per process polls, and frequently.
    """
    write_lock = _write_locks[engine] = FifoLock()

    @event.listens_for(engine, "begin")
    def acquire(connection: sa.Connection) -> None:
        if not write_lock.acquire(WRITE_LOCK_TIMEOUT_S):
            raise sa.exc.TimeoutError("too many transactions are waiting to write")
        connection.info["has_write_lock"] = True
        _begin_immediate(connection)

    @event.listens_for(engine, "checkin")
    @event.listens_for(engine, "invalidate")
    def release(raw: object, record: Any, *_: object) -> None:
        if record.info.pop("has_write_lock", False):
            write_lock.release()


_write_locks: WeakKeyDictionary[sa.Engine, FifoLock] = WeakKeyDictionary()
"""SQLite only: the lock among this process's writing threads, by the engine of `db.session`."""


def _begin_immediate(connection: sa.Connection) -> None:
    """Start a write transaction on SQLite once no other process is writing.

    Raises OperationalError after the timeout.
    """
    raw: Any = connection.connection.dbapi_connection
    deadline = time.monotonic() + WRITE_LOCK_TIMEOUT_S
    raw.execute("PRAGMA busy_timeout=0")
    while not _try_begin_immediate(raw) and time.monotonic() < deadline:
        time.sleep(POLL_INTERVAL_S)
    raw.execute("PRAGMA busy_timeout=5000")
    if not raw.in_transaction:
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # fails again, with SQLAlchemy's error


def _try_begin_immediate(raw: Any) -> bool:
    """Start a write transaction; returns False if another process is writing."""
    try:
        raw.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        return error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY
    return True


def fetch_all(clause: sa.Executable, parameters: Parameters | None = None) -> list[sa.Row]:
    """Run one statement in a transaction of its own and return all rows."""
    with db.engines[AUTOCOMMIT_BIND].connect() as connection:
        return connection.execute(clause, parameters).all()  # type: ignore[return-value]  # it is a list, not copied


def fetch_one(clause: sa.Executable, parameters: Parameters | None = None) -> sa.Row | None:
    """Run one statement in a transaction of its own and return the first row, or None."""
    with db.engines[AUTOCOMMIT_BIND].connect() as connection:
        return connection.execute(clause, parameters).first()


def fetch_existing(clause: sa.Executable, parameters: Parameters | None = None) -> sa.Row:
    """Fetch the first row, which must exist, as that of a count or of a key that was just read.

    Raises NoResultFound.
    """
    row = fetch_one(clause, parameters)
    if row is None:
        raise NoResultFound("No row was found when one was required")
    return row


def execute_write(clause: sa.Executable, parameters: Parameters | Sequence[Parameters] | None = None) -> int:
    """Run one writing statement in a transaction of its own and return the number of rows affected."""
    with db.engines[AUTOCOMMIT_BIND].connect() as connection:
        # without this option, PostgreSQL reports -1 for an INSERT
        return connection.execute(clause, parameters, execution_options={"preserve_rowcount": True}).rowcount


@contextmanager
def write_transaction() -> Iterator[sa.Connection]:
    """Yield the connection of a short transaction of a few writes; an exception rolls it back.

    On SQLite it queues fairly with the transactions of `db.session`, which would otherwise always come first. Must not
    be used while `db.session` is in a transaction.
    """
    write_lock = _write_locks.get(db.engine)
    with db.engines[AUTOCOMMIT_BIND].connect() as connection:
        if write_lock and not write_lock.acquire(WRITE_LOCK_TIMEOUT_S):
            raise sa.exc.TimeoutError("too many transactions are waiting to write")
        try:
            if write_lock:
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
            if write_lock:
                write_lock.release()


def batching_session() -> BatchingSession:
    """Return the current session itself: `db.session` passes on only what every session can do."""
    session = db.session()
    assert isinstance(session, BatchingSession), "all sessions of the app are"
    return session


class ConnectionSession(BatchingSession):
    """A session on one connection."""

    def __init__(self, connection: sa.Connection):
        super().__init__(db, autoflush=False)
        self._connection = connection

    def get_bind(self, *args: Any, **kwargs: Any) -> Any:
        return self._connection


@contextmanager
def separate_session(connection: sa.Connection) -> Iterator[None]:
    """Replace `db.session` within the block by a new session on the same connection.

    It reads what the transaction has written so far, where the outer session returns objects that may be changed and
    not flushed. Must not be used for writes.
    """
    outer, reader = db.session(), ConnectionSession(connection)
    registry: Any = db.session.registry  # typed for Flask-SQLAlchemy's class of sessions alone
    registry.set(reader)
    try:
        yield
    finally:
        registry.set(outer)
        reader.close()


def execute_in_session(statement: sa.Executable, parameters: Parameters | Sequence[Parameters] | None = None) -> int:
    """Run one writing statement in the transaction of `db.session` and return the number of rows affected.

    Raises TypeError for a statement that returns objects: it has another kind of result.
    """
    result = db.session.execute(statement, parameters)
    if not isinstance(result, sa.CursorResult):
        raise TypeError("the statement does not report a number of rows")
    return result.rowcount


def lock_row(model: type[Model], key: object) -> Model | None:
    """Load the row with this primary key under a row lock that is held until the commit; None if there is none.

    PostgreSQL locks the row; on SQLite a transaction already excludes all other writers. Locks are taken in the order
    of `lock_order.Rank`; in the sandbox, another order raises LockOrderError.
    """
    lock_order.note_row_lock(db.session(), model.__tablename__, key)
    return db.session.get(model, key, with_for_update=True, populate_existing=True)


def lock_existing_row(model: type[Model], key: object) -> Model:
    """Load, as `lock_row` does, a row that must exist. Raises NoResultFound."""
    return db.session.get_one(model, key, with_for_update=True, populate_existing=True)


def is_unavailable(error: Exception) -> bool:
    """Whether the database was unreachable or timed out, as opposed to rejecting the statement."""
    return isinstance(error, sa.exc.TimeoutError | OperationalError) or (
        isinstance(error, DBAPIError) and error.connection_invalidated
    )


def insert(table: sa.Table | type[Base]) -> "sqlite.Insert | postgresql.Insert":
    """Return the dialect's own INSERT, which supports `on_conflict_do_nothing` and `on_conflict_do_update`."""
    return DIALECT_INSERTS[db.engine.dialect.name](table)


@overload
def format_utc(moment: datetime) -> str: ...


@overload
def format_utc(moment: None) -> None: ...


def format_utc(moment: datetime | None) -> str | None:
    """Format as RFC 3339 with `Z`, with microseconds unless they are zero: `2026-01-31T12:00:00Z`. None stays None."""
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _encode_json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, sort_keys=True)
