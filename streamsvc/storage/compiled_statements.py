"""SQL statements for the hottest paths, compiled once and passed straight to the database driver."""

import threading
import time
from collections import namedtuple
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import PoolProxiedConnection

from streamsvc.storage import durability
from streamsvc.storage.database import AUTOCOMMIT_BIND, UtcTime, db, queued_write, reading_engine
from streamsvc.storage.durability import Relaxed
from streamsvc.tracing import start_statement_span

MAX_IDLE_S = 1.0
"""A connection unused for this long is returned to the pool, which checks that it is still alive."""
_Processors = list[tuple[Any, Callable[[Any], Any]]]
_Compiled = tuple[str, list[str] | None, dict[str, Any], _Processors, _Processors]
"""Text, parameter names (None: passed by name), constants, binders by name, converters by position."""


class _ThreadConnections(threading.local):
    """This thread's own connections: each stays with the thread, which saves a trip to the pool per statement."""

    def __init__(self) -> None:
        self.by_engine: WeakKeyDictionary[sa.Engine, list] = WeakKeyDictionary()
        """[connection, when it was last used] by engine."""

    def get(self, engine: sa.Engine) -> PoolProxiedConnection:
        """Return the connection to an engine's database, from the pool if there is none, or an old one."""
        kept, now = self.by_engine.get(engine), time.monotonic()
        if kept is not None:
            connection: PoolProxiedConnection = kept[0]
            if now - kept[1] <= MAX_IDLE_S and connection.dbapi_connection is not None:
                kept[1] = now
                return connection
            del self.by_engine[engine]
            connection.close()
        connection = engine.raw_connection()
        self.by_engine[engine] = [connection, now]
        return connection


_thread = _ThreadConnections()


class CompiledStatement:
    """A fixed statement, compiled once per dialect and run on the driver: a third of the cost of SQLAlchemy Core.

    A SELECT, or a single guarded write. All parameters are passed by name. Rows (for a write: of its RETURNING clause)
    are named tuples of the columns' Python values. Each call is a transaction of its own and raises the same errors as
    Core, so that an outage is recognized as one. A write is durable, unless it names why it need not be.
    """

    def __init__(
        self,
        statement: sa.Select | sa.CompoundSelect | sa.Insert | sa.Update | sa.Delete,
        relaxed: Relaxed | None = None,
    ):
        self.statement, self.relaxed = statement, relaxed
        self._is_write = isinstance(statement, sa.Insert | sa.Update | sa.Delete)
        self.columns = list(statement.exported_columns)
        names: list[Any] = [column.key for column in self.columns]
        row_type: Any = namedtuple("Row", names)  # type: ignore[misc]  # a class of its own for each statement
        self._make_row: Callable[[Sequence[object]], Any] = partial(tuple.__new__, row_type)
        self._compiled_by_dialect: dict[str, _Compiled] = {}

    def all(self, **parameters: Any) -> list[Any]:
        """Run the statement and return all rows."""
        return self._execute(parameters)[0]

    def one(self, **parameters: Any) -> Any | None:
        """Run the statement and return the first row, or None."""
        rows = self.all(**parameters)
        return rows[0] if rows else None

    def execute_write(self, **parameters: Any) -> int:
        """Run the write and return the number of rows affected."""
        return self._execute(parameters)[1]

    def run_in(self, transaction: sa.Connection, **parameters: Any) -> list[Any]:
        """Run the statement in a transaction that is open, and return its rows."""
        text, arguments, converters = self._prepare(transaction.dialect, parameters)
        connection = transaction.connection
        try:
            rows, _ = self._run(connection, text, arguments)
        except transaction.dialect.loaded_dbapi.Error as error:
            raise self._translate_error(transaction.dialect, connection, text, error) from error
        return self._make_rows(rows, converters)

    def _execute(self, parameters: dict[str, Any]) -> tuple[list[Any], int]:
        """Return (rows, row count)."""
        engine = db.engines[AUTOCOMMIT_BIND] if self._is_write else reading_engine()
        text, arguments, converters = self._prepare(engine.dialect, parameters)
        connection = None
        try:
            connection = _thread.get(engine)
            if self._is_write and engine.dialect.name == "sqlite":
                durability.set_sqlite_level(connection, self.relaxed)
                with queued_write(engine):
                    rows, count = self._run(connection, text, arguments)
            else:
                rows, count = self._run(connection, text, arguments)
        except engine.dialect.loaded_dbapi.Error as error:
            raise self._translate_error(engine.dialect, connection, text, error) from error
        return self._make_rows(rows, converters), count

    def _prepare(self, dialect: sa.Dialect, parameters: dict[str, Any]) -> tuple[str, Any, _Processors]:
        """Return (text, the driver's parameters, converters)."""
        text, names, constants, binders, converters = self._compiled_by_dialect.get(dialect.name) or self._compile(
            dialect
        )
        bound = constants | parameters
        for name, bind in binders:
            bound[name] = bind(bound[name])
        return text, bound if names is None else [bound[name] for name in names], converters

    def _make_rows(self, rows: list[Any], converters: _Processors) -> list[Any]:
        if converters:
            rows = [_convert(values, converters) for values in rows]
        return list(map(self._make_row, rows))

    def _run(self, connection: PoolProxiedConnection, text: str, arguments: Any) -> tuple[list[Any], int]:
        span = start_statement_span(text)
        cursor = connection.cursor()
        try:
            cursor.execute(text, arguments)
            rows: Any = cursor.fetchall() if self.columns else []  # a list: of both drivers
            count = cursor.rowcount
        finally:
            if span is not None:
                span.end()
        cursor.close()
        return rows, count

    def _compile(self, dialect: sa.Dialect) -> _Compiled:
        """Compile for the dialect and cache (text, parameter names or None, constants, binders, converters)."""
        is_relaxed_here = self.relaxed and dialect.name == "postgresql"
        statement = durability.relax_on_postgresql(self.statement) if is_relaxed_here else self.statement
        compiled = statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
        constants = {name: value for name, value in compiled.params.items() if value is not None}
        binders = [(name, _binder(parameter, dialect)) for name, parameter in compiled.binds.items()]
        converters = [(position, _converter(column, dialect)) for position, column in enumerate(self.columns)]
        self._compiled_by_dialect[dialect.name] = (
            str(compiled),
            compiled.positiontup,
            constants,
            [(name, bind) for name, bind in binders if bind],
            [(position, convert) for position, convert in converters if convert],
        )
        return self._compiled_by_dialect[dialect.name]

    def _translate_error(
        self, dialect: sa.Dialect, connection: PoolProxiedConnection | None, text: str, error: Any
    ) -> Exception:
        """Wrap a driver error as SQLAlchemy does; invalidates a connection that was lost."""
        lost = connection is None or dialect.is_disconnect(error, connection.dbapi_connection, None)
        if lost and connection is not None:
            connection.invalidate(error)
        driver_error = dialect.loaded_dbapi.Error
        return DBAPIError.instance(text, None, error, driver_error, connection_invalidated=lost, dialect=dialect)


def _convert(values: Sequence[Any], converters: _Processors) -> list[object]:
    """Convert a driver's row to a list of Python values; NULLs are skipped."""
    row = list(values)
    for position, convert in converters:
        if row[position] is not None:
            row[position] = convert(row[position])
    return row


def _converter(column: sa.ColumnElement, dialect: sa.Dialect) -> Callable[[Any], Any] | None:
    """Return the function that converts the driver's value of the column to Python; None if no conversion is needed."""
    if dialect.name == "sqlite":
        if isinstance(column.type, UtcTime):
            return _parse_utc
        if isinstance(column.type, sa.JSON):
            return msgspec.json.decode
    return _dialect_type(column, dialect).result_processor(dialect, None)


def _binder(parameter: sa.BindParameter, dialect: sa.Dialect) -> Callable[[Any], Any] | None:
    """Return the function that converts a parameter to the driver's value; None if no conversion is needed."""
    if dialect.name == "sqlite" and isinstance(parameter.type, UtcTime):
        return _format_utc
    return _dialect_type(parameter, dialect).bind_processor(dialect)


def _parse_utc(text: str) -> datetime:
    return datetime.fromisoformat(text + "+00:00")


def _format_utc(moment: datetime | None) -> str | None:
    """Format a time as SQLAlchemy stores it on SQLite. Raises ValueError for one without a time zone."""
    if moment is None:
        return None
    if moment.tzinfo is None:
        raise ValueError(f"naive datetime {moment!r}")
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


def _dialect_type(element: sa.ColumnElement, dialect: sa.Dialect) -> sa.types.TypeEngine:
    """Return the dialect's implementation of the type of a column or parameter."""
    return element.type.dialect_impl(dialect)
