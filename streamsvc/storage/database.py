"""The database: one handle with two ways to use it, and the column types shared by all tables.

`db.session` is for transactions with several statements: on SQLite it starts with BEGIN IMMEDIATE, so that what it read
is still true when it writes. Money is always written this way.

`fetch_all`, `fetch_one` and `execute_write` run one statement in a transaction of its own: reads, and single guarded
writes. A GET request only uses these, except `/readyz`, which tests whether the database is writable, and the audit
entry for a denied request.

Both are durable: on disk before they return. `execute_write` is not if it names a reason of `durability.Relaxed`.
"""

import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
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
from sqlalchemy.exc import DBAPIError, NoResultFound, OperationalError, SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase

from streamsvc import clock
from streamsvc.rules import connections
from streamsvc.settings import Settings, SettingsError, current_extensions
from streamsvc.storage import durability, lock_order, postgresql
from streamsvc.storage.durability import Relaxed
from streamsvc.storage.unit_of_work import DIALECT_INSERTS, BatchingSession
from streamsvc.storage.write_queue import POLL_INTERVAL_S, WriteQueue

if TYPE_CHECKING:
    from sqlalchemy.dialects.postgresql import Insert as PostgresqlInsert
    from sqlalchemy.dialects.sqlite import Insert as SqliteInsert

AUTOCOMMIT_BIND, REPLICA_BIND = "statements", "replica"
PRAGMAS = ("journal_mode=WAL", "foreign_keys=ON", "busy_timeout=5000", "mmap_size=268435456")
"""mmap_size in bytes: connections share one mapping of the file instead of caching pages separately."""
SQLITE_TIME_FUNCTION = "wall_time"
"""SQL function on SQLite: the machine's time, plus a number of seconds."""
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


def init_app(app: Flask, settings: Settings) -> None:
    """Set up the two engines: the default one for transactions, and `AUTOCOMMIT_BIND` for single statements."""
    url = make_url(settings.database_url)
    if url.get_backend_name() == "sqlite" and url.database:
        _create_folder(Path(url.database).parent)
    options: dict[str, Any] = {"pool_timeout": 2, "json_serializer": _encode_json}
    if url.get_backend_name() == "postgresql":
        options |= {"pool_pre_ping": True, "connect_args": {"connect_timeout": 2, "tcp_user_timeout": 3000}}
    limits = connections.pool_limits(settings.threads)
    statements = {"url": url, "isolation_level": "AUTOCOMMIT", **_pool_size(limits.statements, settings)}
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = options | _pool_size(limits.transactions, settings)
    app.config["SQLALCHEMY_BINDS"] = {AUTOCOMMIT_BIND: options | statements}
    if settings.database_replica_url:
        replica = statements | {"url": make_url(settings.database_replica_url)}
        app.config["SQLALCHEMY_BINDS"][REPLICA_BIND] = options | replica
    db.init_app(app)
    if settings.sandbox:
        lock_order.check_lock_order(DatabaseSession)
    with app.app_context():
        engines = db.engine, db.engines[AUTOCOMMIT_BIND]
        app.extensions["reading_engine"] = db.engines[AUTOCOMMIT_BIND]
        if db.engine.dialect.name == "sqlite":
            for engine in engines:
                event.listen(engine, "connect", configure_sqlite)
                event.listen(engine, "checkin", durability.restore_sqlite_level)
            _queue_writers(engines)
        else:
            from streamsvc.storage.hang_watchdog import HangWatchdog  # the driver is optional

            watchdog = HangWatchdog()
            for engine in engines:
                postgresql.configure_connections(engine, settings.prepared_statements)
                watchdog.watch(engine)
            if REPLICA_BIND in db.engines:
                postgresql.configure_connections(db.engines[REPLICA_BIND], settings.prepared_statements)
                HangWatchdog().watch(db.engines[REPLICA_BIND])
            postgresql.configure_transactions(db.engine)
        _note_transactions(db.engine)


def _create_folder(folder: Path) -> None:
    """Create the folder of SQLite's file. Raises SettingsError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            f"STREAMSVC_DATA_DIR or STREAMSVC_DATABASE_URL: {folder} cannot be created: {error.strerror}; choose a "
            "folder that this user may write to"
        ) from None


def _pool_size(limit: int, settings: Settings) -> dict[str, int]:
    """Return the options of a pool that keeps some connections open and opens at most `limit`."""
    kept = max(4, settings.threads // 2)
    return {"pool_size": kept, "max_overflow": limit - kept}


def configure_sqlite(raw: Any, _: object) -> None:
    raw.isolation_level = None  # the driver itself would open a transaction only after the first read
    for pragma in (*PRAGMAS, f"synchronous={durability.SYNCHRONOUS}"):
        raw.execute(f"PRAGMA {pragma}")
    raw.create_function(SQLITE_TIME_FUNCTION, 1, _format_wall_time)


def _format_wall_time(plus_s: float) -> str:
    """Format the machine's time, plus some seconds, as SQLite stores it."""
    return (clock.wall_time() + timedelta(seconds=plus_s)).strftime("%Y-%m-%d %H:%M:%S.%f")


def _queue_writers(engines: Sequence[sa.Engine]) -> None:
    """Have the transactions of `db.session`, the first of the engines, and single writes take turns on SQLite."""
    queue = WriteQueue(engines[0].url.database)
    _write_queues.update(dict.fromkeys(engines, queue))

    @event.listens_for(engines[0], "begin")
    def acquire(connection: sa.Connection) -> None:
        deadline = queue.acquire()
        connection.info["is_writer"] = True
        _begin_immediate(connection, deadline)

    @event.listens_for(engines[0], "checkin")
    @event.listens_for(engines[0], "invalidate")
    def release(raw: object, record: Any, *_: object) -> None:
        if record.info.pop("is_writer", False):
            queue.release()


_write_queues: WeakKeyDictionary[sa.Engine, WriteQueue] = WeakKeyDictionary()
"""SQLite only: the queue of those who write."""


def queued_write(engine: sa.Engine) -> AbstractContextManager[None]:
    """Within the block, this thread may run a single write: on SQLite, it has waited for its turn."""
    queue = _write_queues.get(engine)
    return nullcontext() if queue is None else queue.held()


def _begin_immediate(connection: sa.Connection, deadline: float) -> None:
    """Start a write transaction on SQLite once no other process is writing.

    Raises OperationalError after the deadline, by the monotonic clock.
    """
    raw: Any = connection.connection.dbapi_connection
    raw.execute("PRAGMA busy_timeout=0")
    try:
        with _write_queues[connection.engine].turn(deadline):
            while not _try_begin_immediate(raw) and time.monotonic() < deadline:
                time.sleep(POLL_INTERVAL_S)
            if not raw.in_transaction:
                connection.exec_driver_sql("BEGIN IMMEDIATE")  # fails again, with SQLAlchemy's error
    finally:
        raw.execute("PRAGMA busy_timeout=5000")


def _try_begin_immediate(raw: Any) -> bool:
    """Start a write transaction; returns False if another process is writing."""
    try:
        raw.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        return error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY
    return True


_open = threading.local()
"""The connection of this thread's transaction, as `connection`, while it is open; the `engine` of its reads if set."""


def _note_transactions(engine: sa.Engine) -> None:
    event.listen(engine, "begin", _note_open)
    for end in ("commit", "rollback"):
        event.listen(engine, end, _note_closed)


def _note_open(connection: sa.Connection) -> None:
    _open.connection, _open.began_at = connection, time.monotonic()


def transaction_began_at() -> float:
    """Return when this thread's latest transaction began, by the monotonic clock; SQLite's has the write lock then."""
    return _open.began_at


def _note_closed(connection: sa.Connection) -> None:
    if getattr(_open, "connection", None) is connection:
        _open.connection = None


def reading_engine() -> sa.Engine:
    """Return the engine of this thread's single reads."""
    if engine := getattr(_open, "engine", None):
        return engine
    reading: sa.Engine = current_extensions()["reading_engine"]
    return reading


@contextmanager
def reading_from(engine: sa.Engine) -> Iterator[None]:
    """Have this thread's single reads use the engine of a standby within the block, and its writes the primary's."""
    _open.engine = engine
    try:
        yield
    finally:
        _open.engine = None


@contextmanager
def _read_connection() -> Iterator[sa.Connection]:
    """Yield the connection of this thread's transaction, or else one of its own for a single statement.

    A thread in a transaction that waited for a second connection could wait for others who wait for one too: a pooler
    may have fewer connections than there are threads.
    """
    if (connection := getattr(_open, "connection", None)) is not None:
        yield connection
    else:
        with reading_engine().connect() as connection:
            yield connection


def fetch_all(clause: sa.Executable, parameters: Parameters | None = None) -> list[sa.Row]:
    """Run one reading statement and return all rows: by itself, or within this thread's transaction if it has one."""
    with _read_connection() as connection:
        return connection.execute(clause, parameters).all()  # type: ignore[return-value]  # it is a list, not copied


def fetch_one(clause: sa.Executable, parameters: Parameters | None = None) -> sa.Row | None:
    """Run one reading statement, as `fetch_all` does, and return the first row, or None."""
    with _read_connection() as connection:
        return connection.execute(clause, parameters).first()


def fetch_existing(clause: sa.Executable, parameters: Parameters | None = None) -> sa.Row:
    """Fetch the first row, which must exist, as that of a count or of a key that was just read.

    Raises NoResultFound.
    """
    row = fetch_one(clause, parameters)
    if row is None:
        raise NoResultFound("No row was found when one was required")
    return row


def execute_write(
    clause: sa.Executable,
    parameters: Parameters | Sequence[Parameters] | None = None,
    relaxed: Relaxed | None = None,
) -> int:
    """Run one writing statement in a transaction of its own and return the number of rows affected.

    It is durable, unless it names why it need not be.
    """
    with relaxable_connection(db.engines[AUTOCOMMIT_BIND], clause, relaxed) as (connection, statement):
        # without this option, PostgreSQL reports -1 for an INSERT
        return connection.execute(statement, parameters, execution_options={"preserve_rowcount": True}).rowcount


def fetch_relaxed(clause: sa.Executable, parameters: Parameters, relaxed: Relaxed) -> list[sa.Row]:
    """Run one UPDATE or DELETE that returns rows, as a relaxed write, and return them all."""
    with relaxable_connection(db.engines[AUTOCOMMIT_BIND], clause, relaxed) as (connection, statement):
        return connection.execute(statement, parameters).all()  # type: ignore[return-value]  # a list


@contextmanager
def relaxable_connection(
    engine: sa.Engine, clause: sa.Executable, relaxed: Relaxed | None
) -> Iterator[tuple[sa.Connection, sa.Executable]]:
    """Yield a connection for single statements, and the statement as it must be run on it."""
    with engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            yield connection, durability.relax_on_postgresql(clause) if relaxed else clause
            return
        with (
            queued_write(engine),
            durability.relaxed_on_sqlite(connection.connection) if relaxed else nullcontext(),
        ):
            yield connection, clause


@contextmanager
def write_transaction(relaxed: Relaxed | None = None) -> Iterator[sa.Connection]:
    """Yield the connection of a short transaction of a few writes; an exception rolls it back.

    On SQLite it queues fairly with the transactions of `db.session`, which would otherwise always come first. Must not
    be used while `db.session` is in a transaction. It is durable, unless it names why it need not be.
    """
    with db.engines[AUTOCOMMIT_BIND].connect() as connection:
        begin = _begin_on_sqlite if connection.dialect.name == "sqlite" else _begin_on_postgresql
        with begin(connection, relaxed):
            _note_open(connection)
            try:
                yield connection
            except BaseException:
                try:
                    connection.exec_driver_sql("ROLLBACK")
                except SQLAlchemyError:  # the connection is lost, which the first error says
                    connection.invalidate()
                raise
            finally:
                _note_closed(connection)
            connection.exec_driver_sql("COMMIT")


@contextmanager
def _begin_on_postgresql(connection: sa.Connection, relaxed: Relaxed | None) -> Iterator[None]:
    connection.exec_driver_sql(f"{postgresql.BEGIN}; {durability.RELAX_TRANSACTION}" if relaxed else postgresql.BEGIN)
    yield


@contextmanager
def _begin_on_sqlite(connection: sa.Connection, relaxed: Relaxed | None) -> Iterator[None]:
    queue = _write_queues[connection.engine]
    deadline = queue.acquire()
    try:
        with durability.relaxed_on_sqlite(connection.connection) if relaxed else nullcontext():
            _begin_immediate(connection, deadline)
            yield
    finally:
        queue.release()


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
    lock_order.note_row_lock(db.session(), model.__tablename__, key)
    return db.session.get_one(model, key, with_for_update=True, populate_existing=True)


def reload_row(model: type[Model], key: object) -> Model:
    """Load a row that must exist, again if the session has it: others may have changed it until its lock was taken.

    Raises NoResultFound.
    """
    return db.session.get_one(model, key, populate_existing=True)


def is_unavailable(error: Exception) -> bool:
    """Whether the database was unreachable or timed out, as opposed to rejecting the statement."""
    return isinstance(error, sa.exc.TimeoutError | OperationalError) or (
        isinstance(error, DBAPIError) and error.connection_invalidated
    )


def insert(table: sa.Table | type[Base]) -> "SqliteInsert | PostgresqlInsert":
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
