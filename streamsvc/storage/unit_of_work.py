"""Many in one unit of work, by the code that serves one.

Within `together()` what is asked may be known beforehand (`tell`, `known`), new rows are kept back and written by one
statement a table (`add`, `add_rows`), and what each needs at the end is done once for all (`later`). Outside of it,
each of these acts at once. Whatever else is asked of the database meanwhile is answered right: what was kept back is
written first.
"""

from collections.abc import Callable, Hashable
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache

from sqlalchemy import event
from sqlalchemy.orm import make_transient_to_detached

from streamsvc.storage.database import db, insert


class UnitOfWork:
    """What one unit of work knows and has kept back."""

    def __init__(self):
        self.values: dict[Hashable, object] = {}
        self.objects: dict[type, list] = {}
        self.rows: dict[tuple[type, str | None], list[dict]] = {}
        self.deferred: dict[Callable[[list], None], list] = {}
        self.is_writing = False


_current: ContextVar[UnitOfWork | None] = ContextVar("together", default=None)


@contextmanager
def unit_of_work():
    """Keep back what is written until the end of the block; the caller commits after it."""
    session, token = db.session(), _current.set(UnitOfWork())

    def write_before(_):
        flush_batch()

    event.listen(session, "do_orm_execute", write_before)
    try:
        yield
        flush_batch(final=True)
    finally:
        event.remove(session, "do_orm_execute", write_before)
        _current.reset(token)


def preload(key: Hashable, value) -> None:
    """Let `known` answer this from now on."""
    _current.get().values[key] = value


def cached(key: Hashable):
    """What is known under this name, to be kept up to date by whoever changes it; None where nothing is."""
    current = _current.get()
    return current and current.values.get(key)


def get_or_load(key: Hashable, load: Callable[[], object]):
    """The answer to `ask()`: within the block it is asked once for each key, and not at all where it was told."""
    current = _current.get()
    if current is None:
        return load()
    if key not in current.values:
        current.values[key] = load()
    return current.values[key]


def flush_session() -> None:
    """Send changes to the database, where they are not kept back."""
    if _current.get() is None:
        db.session.flush()


def add_object(instance) -> None:
    """A new object of a model; within the block it is one of the session's only from the writing on."""
    current = _current.get()
    if current is None:
        db.session.add(instance)
    else:
        current.objects.setdefault(type(instance), []).append(instance)


def add_rows(model, rows: list[dict], unique_by: str | None = None) -> None:
    """New rows that nobody reads as objects in this unit of work. By the column `once_by` the first one stands."""
    current = _current.get()
    if current is None:
        db.session.flush()
        _insert_rows(model, unique_by, rows)
    else:
        current.rows.setdefault((model, unique_by), []).extend(rows)


def defer(action: Callable[[list], None], item) -> None:
    """Have `act([item, …])` done once for all items before the writing."""
    current = _current.get()
    if current is None:
        action([item])
    else:
        current.deferred.setdefault(action, []).append(item)


def flush_batch(final: bool = False) -> None:
    """Write what was kept back: changes first, then new rows in the order in which tables refer to each other."""
    current = _current.get()
    if current is None or current.is_writing:
        return
    current.is_writing = True
    while current.deferred:
        act = next(iter(current.deferred))
        act(current.deferred.pop(act))
    db.session.flush()
    objects, current.objects = current.objects, {}
    rows, current.rows = current.rows, {}
    for table in _tables_in_order():
        for model in [one for one in objects if one.__table__ is table]:
            objects[model] = [thing for thing in objects[model] if thing not in db.session]
            _insert_rows(model, None, [_row_values(thing, table) for thing in objects[model]])
        for model, once_by in [key for key in rows if key[0].__table__ is table]:
            _insert_rows(model, once_by, rows[model, once_by])
    if not final:
        _attach_instances([thing for things in objects.values() for thing in things])
    current.is_writing = False


@cache
def _tables_in_order() -> list:
    """Those that are referred to stand before those that refer to them."""
    return db.metadata.sorted_tables


def _insert_rows(model, unique_by: str | None, rows: list[dict]) -> None:
    if not rows:
        return
    statement = insert(model.__table__)
    if unique_by:
        statement = statement.on_conflict_do_nothing(index_elements=[unique_by])
    db.session.connection().execute(statement, rows)


def _row_values(instance, table) -> dict:
    """Its columns; what was left open gets the default that the session would have given it."""
    values = vars(instance)
    for column in table.c:
        if column.default is not None and values.get(column.key) is None:
            default = column.default
            setattr(instance, column.key, default.arg(None) if default.is_callable else default.arg)
    return {column.key: values.get(column.key) for column in table.c}


def _attach_instances(instances: list) -> None:
    """They are written, and somebody may ask for them: let the session know them as its own."""
    for thing in instances:
        make_transient_to_detached(thing)
    db.session.add_all(instances)
