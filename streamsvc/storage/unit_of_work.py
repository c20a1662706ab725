"""The unit of work: ordinary code for a single row, run on many rows with batched reads and writes.

`BatchingSession` is the session's side of it. Within `unit_of_work(session)`, `flush` is postponed to the end of the
block, or to the next query that the preloaded rows do not answer; then all new and changed rows are written together.
`get` and `preloaded` answer from the rows that the block has preloaded. Outside of the block everything acts at once.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import sqlalchemy as sa
from flask_sqlalchemy.session import Session as FlaskSession
from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import InstrumentedAttribute

DIALECT_INSERTS: dict[str, Callable[[Any], Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
"""Each dialect's own INSERT, which supports `on_conflict_do_nothing` and `on_conflict_do_update`."""


ANY_COLUMN = "*"


class UnitOfWork:
    """The preloaded rows and the postponed writes of one block.

    Preload only what the transaction's locks keep others from changing, since it is not read again.
    """

    def __init__(self) -> None:
        self.rows: dict[tuple[type, Hashable], object] = {}
        """Rows by model and primary key; None: there is none."""
        self.lists: dict[tuple[Any, str], dict[Hashable, list]] = {}
        """Rows by model and column, and by the column's value: instances, or dicts as passed to `insert_rows`."""
        self.inserts: dict[tuple[type, str | None], list[dict]] = {}
        self.collected: dict[Callable[[list], None], list] = {}
        self.loaded: list = []
        """Holds every row that the block has loaded, since the session itself would forget it and load it again."""
        self.is_writing = False

    def preload_rows(self, model: Any, keys: Iterable[Hashable], rows: Iterable) -> None:
        """Let `get` answer for these primary keys; keys that none of the rows has count as missing."""
        by_key = {sa.inspect(row).identity[0]: row for row in rows}
        self.rows |= {(model, key): by_key.get(key) for key in keys}

    def preload_lists(self, column: InstrumentedAttribute, values: Iterable[Hashable], rows: Iterable) -> None:
        """Let `preloaded` answer for these values of the column, with the rows in the given order."""
        lists = self.lists[column.class_, column.key] = {value: [] for value in values}
        for row in rows:
            if (same_value := lists.get(_value(row, column.key))) is not None:
                same_value.append(row)

    def add_to_lists(self, model: type, row: object) -> None:
        """Add a new row to the preloaded lists to which it belongs."""
        for (listed_model, name), lists in self.lists.items():
            if listed_model is model and (same_value := lists.get(_value(row, name))) is not None:
                same_value.append(row)


class BatchingSession(FlaskSession):
    """A session that can run a unit of work: see the module."""

    unit_of_work: UnitOfWork | None = None

    def get(self, entity: Any, ident: Any, **options: Any) -> Any:
        """Return the row with this primary key, or None; a preloaded one without a query, under whatever options."""
        if self.unit_of_work is not None and (entity, ident) in self.unit_of_work.rows:
            return self.unit_of_work.rows[entity, ident]
        return super().get(entity, ident, **options)

    def preloaded(self, column: InstrumentedAttribute, value: Hashable) -> list | None:
        """Return all rows with this value of the column, new ones last; None if they have not been preloaded."""
        if self.unit_of_work is None:
            return None
        return self.unit_of_work.lists.get((column.class_, column.key), {}).get(value)

    def start_lists(self, value: Hashable, *columns: InstrumentedAttribute) -> None:
        """Let `preloaded` answer for a new value of these columns, such as the id of a row that was just added."""
        if self.unit_of_work is not None:
            for column in columns:
                self.unit_of_work.lists.setdefault((column.class_, column.key), {}).setdefault(value, [])

    def add(self, instance: object, **options: Any) -> None:
        """Add a new row; it also joins the preloaded rows."""
        super().add(instance, **options)
        if self.unit_of_work is not None:
            key = (type(instance), *sa.inspect(type(instance)).primary_key_from_instance(instance))
            if key in self.unit_of_work.rows:
                self.unit_of_work.rows[key] = instance
            self.unit_of_work.add_to_lists(type(instance), instance)

    def insert_rows(self, model: type, rows: list[dict], unique_by: str | None = None) -> None:
        """Insert rows that nothing reads as objects within this transaction, after all objects added before.

        On a conflict in the column `unique_by`, or in any with ANY_COLUMN, the earlier row stays.
        """
        if self.unit_of_work is None:
            self.flush()
            self._execute_insert(model, rows, unique_by)
            return
        self.unit_of_work.inserts.setdefault((model, unique_by), []).extend(rows)
        for row in rows:
            self.unit_of_work.add_to_lists(model, row)

    def collect(self, action: Callable[[list], None], item: object) -> None:
        """Call `action([item, …])` once for all items collected, before the next write; without a block, at once."""
        if self.unit_of_work is None:
            action([item])
        else:
            self.unit_of_work.collected.setdefault(action, []).append(item)

    def flush(self, objects: Any = None) -> None:
        """Write new and changed rows, or leave it to the unit of work."""
        if self.unit_of_work is None:
            super().flush(objects)

    def write(self) -> None:
        """Flush, even within a unit of work: what was collected, then objects, then rows in order of foreign keys."""
        work = self.unit_of_work
        if work is None:
            self.flush()
        elif not work.is_writing:
            work.is_writing = True
            with self.no_autoflush:
                while work.collected:
                    action = next(iter(work.collected))
                    action(work.collected.pop(action))
            super().flush()
            inserts, work.inserts = work.inserts, {}
            for (model, unique_by), rows in sorted(inserts.items(), key=lambda item: _table_position(item[0][0])):
                self._execute_insert(model, rows, unique_by)
            work.is_writing = False

    def _execute_insert(self, model: Any, rows: list[dict], unique_by: str | None) -> None:
        connection = self.connection()
        statement = DIALECT_INSERTS[connection.dialect.name](model.__table__)
        if unique_by:
            columns = None if unique_by == ANY_COLUMN else [unique_by]
            statement = statement.on_conflict_do_nothing(index_elements=columns)
        connection.execute(statement, rows)


@contextmanager
def unit_of_work(session: BatchingSession) -> Iterator[UnitOfWork]:
    """Postpone writes to the end of the block; the caller commits after it."""
    work = session.unit_of_work = UnitOfWork()
    listeners: dict[str, Callable[..., Any]] = {
        "do_orm_execute": lambda _: session.write(),
        "loaded_as_persistent": lambda _, instance: work.loaded.append(instance),
    }
    for name, listener in listeners.items():
        event.listen(session, name, listener)
    try:
        yield work
        session.write()
    finally:
        for name, listener in listeners.items():
            event.remove(session, name, listener)
        session.unit_of_work = None


def with_defaults(row: Any) -> Any:
    """Return a new row with all its columns set, as it is after its INSERT, which may come later."""
    table: sa.Table = type(row).__table__
    for column in table.columns:
        if column.key not in row.__dict__:
            default: Any = column.default
            setattr(row, column.key, default and (default.arg(None) if default.is_callable else default.arg))
    return row


def _value(row: object, name: str) -> object:
    return row[name] if isinstance(row, dict) else getattr(row, name)


@cache
def _table_position(model: Any) -> int:
    """Return the position of the model's table among all, each after those it references."""
    return model.metadata.sorted_tables.index(model.__table__)
