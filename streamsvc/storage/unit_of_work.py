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


class Together:
    """What one unit of work knows and has kept back."""

    def __init__(self):
        self.answers: dict[Hashable, object] = {}
        self.objects: dict[type, list] = {}
        self.rows: dict[tuple[type, str | None], list[dict]] = {}
        self.deeds: dict[Callable[[list], None], list] = {}
        self.writes = False


_unit: ContextVar[Together | None] = ContextVar("together", default=None)


@contextmanager
def together():
    """Keep back what is written until the end of the block; the caller commits after it."""
    session, token = db.session(), _unit.set(Together())

    def write_before(_):
        write()

    event.listen(session, "do_orm_execute", write_before)
    try:
        yield
        write(last=True)
    finally:
        event.remove(session, "do_orm_execute", write_before)
        _unit.reset(token)


def tell(key: Hashable, answer) -> None:
    """Let `known` answer this from now on."""
    _unit.get().answers[key] = answer


def heard(key: Hashable):
    """What is known under this name, to be kept up to date by whoever changes it; None where nothing is."""
    current = _unit.get()
    return current and current.answers.get(key)


def known(key: Hashable, ask: Callable[[], object]):
    """The answer to `ask()`: within the block it is asked once for each key, and not at all where it was told."""
    current = _unit.get()
    if current is None:
        return ask()
    if key not in current.answers:
        current.answers[key] = ask()
    return current.answers[key]


def flush() -> None:
    """Send changes to the database, where they are not kept back."""
    if _unit.get() is None:
        db.session.flush()


def add(thing) -> None:
    """A new object of a model; within the block it is one of the session's only from the writing on."""
    current = _unit.get()
    if current is None:
        db.session.add(thing)
    else:
        current.objects.setdefault(type(thing), []).append(thing)


def add_rows(model, rows: list[dict], once_by: str | None = None) -> None:
    """New rows that nobody reads as objects in this unit of work. By the column `once_by` the first one stands."""
    current = _unit.get()
    if current is None:
        db.session.flush()
        _insert(model, once_by, rows)
    else:
        current.rows.setdefault((model, once_by), []).extend(rows)


def later(act: Callable[[list], None], item) -> None:
    """Have `act([item, …])` done once for all items before the writing."""
    current = _unit.get()
    if current is None:
        act([item])
    else:
        current.deeds.setdefault(act, []).append(item)


def write(last: bool = False) -> None:
    """Write what was kept back: changes first, then new rows in the order in which tables refer to each other."""
    current = _unit.get()
    if current is None or current.writes:
        return
    current.writes = True
    while current.deeds:
        act = next(iter(current.deeds))
        act(current.deeds.pop(act))
    db.session.flush()
    objects, current.objects = current.objects, {}
    rows, current.rows = current.rows, {}
    for table in _tables():
        for model in [one for one in objects if one.__table__ is table]:
            objects[model] = [thing for thing in objects[model] if thing not in db.session]
            _insert(model, None, [_row(thing, table) for thing in objects[model]])
        for model, once_by in [key for key in rows if key[0].__table__ is table]:
            _insert(model, once_by, rows[model, once_by])
    if not last:
        _attach([thing for things in objects.values() for thing in things])
    current.writes = False


@cache
def _tables() -> list:
    """Those that are referred to stand before those that refer to them."""
    return db.metadata.sorted_tables


def _insert(model, once_by: str | None, rows: list[dict]) -> None:
    if not rows:
        return
    statement = insert(model.__table__)
    if once_by:
        statement = statement.on_conflict_do_nothing(index_elements=[once_by])
    db.session.connection().execute(statement, rows)


def _row(thing, table) -> dict:
    """Its columns; what was left open gets the default that the session would have given it."""
    values = vars(thing)
    for column in table.c:
        if column.default is not None and values.get(column.key) is None:
            default = column.default
            setattr(thing, column.key, default.arg(None) if default.is_callable else default.arg)
    return {column.key: values.get(column.key) for column in table.c}


def _attach(things: list) -> None:
    """They are written, and somebody may ask for them: let the session know them as its own."""
    for thing in things:
        make_transient_to_detached(thing)
    db.session.add_all(things)
