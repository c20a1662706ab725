"""A unit of work for bulk processing: code written for a single row runs on many, with batched reads and writes.

Within `unit_of_work()`, values can be loaded beforehand (`preload`, `cached`, `get_or_load`), new rows are buffered and
inserted with one statement per table (`add_object`, `add_rows`), and per-item work is collected and done once
(`defer`). Outside of it each of these acts immediately. Any other query within the block sees consistent data: buffered
writes are flushed first.
"""

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.orm import make_transient_to_detached

from streamsvc.storage.database import Base, db, insert

Value = TypeVar("Value")


class UnitOfWork:
    """The preloaded values and buffered writes of one unit of work."""

    def __init__(self) -> None:
        self.values: dict[Hashable, Any] = {}
        self.objects: dict[type[Base], list] = {}
        self.rows: dict[tuple[type[Base], str | None], list[dict]] = {}
        self.deferred: dict[Callable[[list], None], list] = {}
        self.is_writing = False


_current: ContextVar[UnitOfWork | None] = ContextVar("unit_of_work", default=None)


@contextmanager
def unit_of_work() -> Iterator[None]:
    """Buffer writes until the end of the block; the caller commits after it."""
    session, token = db.session(), _current.set(UnitOfWork())

    def flush_before_query(_: object) -> None:
        flush_batch()

    event.listen(session, "do_orm_execute", flush_before_query)
    try:
        yield
        flush_batch(final=True)
    finally:
        event.remove(session, "do_orm_execute", flush_before_query)
        _current.reset(token)


def preload(key: Hashable, value: object) -> None:
    """Cache `value` under `key` for `cached` and `get_or_load`."""
    current = _current.get()
    if current is None:
        raise RuntimeError("values are preloaded within unit_of_work()")
    current.values[key] = value


def cached(key: Hashable) -> Any:
    """Return the cached value of `key`, or None. Code that changes the underlying data must keep it up to date."""
    current = _current.get()
    return current and current.values.get(key)


def get_or_load(key: Hashable, load: Callable[[], Value]) -> Value:
    """Return the cached value of `key`, calling `load()` to fill the cache on first use.

    Outside the block, always load.
    """
    current = _current.get()
    if current is None:
        return load()
    if key not in current.values:
        current.values[key] = load()
    return current.values[key]


def flush_session() -> None:
    """Flush the session, unless writes are being buffered."""
    if _current.get() is None:
        db.session.flush()


def add_object(instance: Base) -> None:
    """Add a new model instance. Within the block it joins the session only when the buffer is flushed."""
    current = _current.get()
    if current is None:
        db.session.add(instance)
    else:
        current.objects.setdefault(type(instance), []).append(instance)


def add_rows(model: type[Base], rows: list[dict], unique_by: str | None = None) -> None:
    """Insert rows that are not read as objects within this transaction.

    On a conflict in the column `unique_by` the earlier row stays.
    """
    current = _current.get()
    if current is None:
        db.session.flush()
        _insert_rows(model, unique_by, rows)
    else:
        current.rows.setdefault((model, unique_by), []).extend(rows)


def defer(action: Callable[[list], None], item: object) -> None:
    """Call `action([item, …])` once, for all items deferred to it, before the next flush."""
    current = _current.get()
    if current is None:
        action([item])
    else:
        current.deferred.setdefault(action, []).append(item)


def flush_batch(final: bool = False) -> None:
    """Write the buffer: changed objects first, then new rows in the order of the tables' foreign keys."""
    current = _current.get()
    if current is None or current.is_writing:
        return
    current.is_writing = True
    while current.deferred:
        action = next(iter(current.deferred))
        action(current.deferred.pop(action))
    db.session.flush()
    objects, current.objects = current.objects, {}
    rows, current.rows = current.rows, {}
    for table in _tables_in_order():
        for model in [model for model in objects if model.__table__ is table]:
            objects[model] = [instance for instance in objects[model] if instance not in db.session]
            _insert_rows(model, None, [_row_values(instance, table) for instance in objects[model]])
        for model, unique_by in [key for key in rows if key[0].__table__ is table]:
            _insert_rows(model, unique_by, rows[model, unique_by])
    if not final:
        _attach_instances([instance for instances in objects.values() for instance in instances])
    current.is_writing = False


@cache
def _tables_in_order() -> list:
    """Return all tables, each after those it references."""
    return db.metadata.sorted_tables


def _insert_rows(model: type[Base], unique_by: str | None, rows: list[dict]) -> None:
    if not rows:
        return
    statement = insert(model.__table__)
    if unique_by:
        statement = statement.on_conflict_do_nothing(index_elements=[unique_by])
    db.session.connection().execute(statement, rows)


def _row_values(instance: Base, table: sa.Table) -> dict:
    """Return the column values of a new instance; missing ones get the column's default."""
    values = vars(instance)
    for column in table.c:
        if column.default is not None and values.get(column.key) is None:
            default: Any = column.default
            setattr(instance, column.key, default.arg(None) if default.is_callable else default.arg)
    return {column.key: values.get(column.key) for column in table.c}


def _attach_instances(instances: list) -> None:
    """Make inserted instances persistent in the session, so that later queries return them."""
    for instance in instances:
        make_transient_to_detached(instance)
    db.session.add_all(instances)
