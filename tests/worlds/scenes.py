"""Scenes that many tests begin with: set up over HTTP for the first test of a process, restored for each later one."""

import copy
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from streamsvc.storage.database import AUTOCOMMIT_BIND, db
from tests.worlds.databases import engine_without_constraints


class Scene(NamedTuple):
    """The rows by table as the driver reads them, the time, and what the set-up returned."""

    rows: dict[str, Any]
    at: datetime
    result: Any


_scenes: WeakKeyDictionary = WeakKeyDictionary()


def set_scene(app, build: Callable, *options) -> Any:
    """Return `build(app, *options)`, from the second call on with a copy of its result and the rows that it stored.

    The database must be empty, and the app have its usual settings.
    """
    scenes = _scenes.setdefault(app, {})
    key = (build, *options)
    if key not in scenes:
        result = build(app, *options)
        with app.app_context():
            scenes[key] = Scene(_read_rows(), app.extensions["clock"].at, _copy(app, result))
        return result
    app.extensions.pop("kept_responses", None)  # kept by ids and versions, which are the same in every test now
    app.extensions["clock"].at = scenes[key].at
    with app.app_context():
        _insert_rows(scenes[key].rows)
    return _copy(app, scenes[key].result)


def _copy(app, result):
    """A deep copy that shares the app and its clock."""
    shared = (app, app.extensions["clock"])
    return copy.deepcopy(result, {id(each): each for each in shared})


def _read_rows() -> dict[str, Any]:
    """The rows of all tables that have any, in the form in which `_insert_rows` takes them."""
    names = [table.name for table in db.metadata.sorted_tables]
    with db.engines[AUTOCOMMIT_BIND].connect() as connection:
        cursor = connection.connection.cursor()
        if db.engine.dialect.name == "sqlite":
            rows = {name: cursor.execute(f"SELECT * FROM {name}").fetchall() for name in names}  # noqa: S608
        else:
            rows = {}
            for name in names:
                with cursor.copy(f"COPY {name} TO STDOUT") as copied:
                    rows[name] = b"".join(bytes(block) for block in copied)
    return {name: values for name, values in rows.items() if values}


def _insert_rows(rows: dict[str, Any]) -> None:
    """Insert the rows, in any order."""
    is_sqlite = db.engine.dialect.name == "sqlite"
    engine = db.engines[AUTOCOMMIT_BIND] if is_sqlite else engine_without_constraints(db.engine.url)
    with engine.connect() as connection:
        cursor = connection.connection.cursor()
        if is_sqlite:
            cursor.execute("BEGIN IMMEDIATE")
            cursor.execute("PRAGMA defer_foreign_keys=ON")
            for name, values in rows.items():
                places = ", ".join("?" * len(values[0]))
                cursor.executemany(f"INSERT INTO {name} VALUES ({places})", values)  # noqa: S608
            cursor.execute("COMMIT")
        else:
            cursor.execute("BEGIN")
            for name, block in rows.items():
                with cursor.copy(f"COPY {name} FROM STDIN") as copied:
                    copied.write(block)
            cursor.execute("COMMIT")
