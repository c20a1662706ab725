"""Bulk reads and writes in the caller's transaction: COPY on PostgreSQL, one prepared statement on SQLite."""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from streamsvc.operations.catalog.titles.json_fragments import encode_json
from streamsvc.storage.database import Base, db

Item = TypeVar("Item")
MAX_PARAMETERS = 500
ANALYZE_CATALOG = sa.text(
    "ANALYZE titles, title_cards, title_facets, title_windows, part_windows, title_credits,"
    " search_docs, search_entries, search_words, programme_entries"
)


BULK_WRITE_PRAGMAS = ("PRAGMA cache_size=-65536", "PRAGMA wal_autocheckpoint=25000")
"""A page cache of 64 MiB, and checkpoints only at a log of 100 MB: an import writes the same pages repeatedly."""


def prepare_connection() -> None:
    """Prepare the transaction's connection for many rows."""
    connection = db.session.connection()
    if connection.dialect.name == "sqlite":
        for pragma in BULK_WRITE_PRAGMAS:
            connection.exec_driver_sql(pragma)


def insert_rows(model: type[Base], columns: Sequence[str], rows: list[tuple]) -> None:
    """Insert tuples whose values are in the order of `columns`; JSON as text, times in UTC."""
    if not rows:
        return
    connection = db.session.connection()
    table = model.__table__
    if connection.dialect.name == "postgresql":
        driver: Any = connection.connection
        with driver.cursor() as cursor:
            names = ", ".join(f'"{name}"' for name in columns)
            with cursor.copy(f'COPY "{table.name}" ({names}) FROM STDIN') as copy:
                for row in rows:
                    copy.write_row(row)
        return
    text, converters = _compile_insert(table, tuple(columns), connection.dialect)
    if converters != [(index, None) for index in range(len(columns))]:
        values = [
            map(convert, map(itemgetter(index), rows)) if convert else map(itemgetter(index), rows)
            for index, convert in converters
        ]
        rows = list(zip(*values, strict=True))
    connection.exec_driver_sql(text, rows)


@lru_cache(maxsize=64)
def _compile_insert(
    table: sa.Table, columns: tuple[str, ...], dialect: sa.Dialect
) -> tuple[str, list[tuple[int, Callable[[Any], Any] | None]]]:
    """Return the text of an INSERT, and per parameter the index of its column and the function that converts it."""
    statement = table.insert().compile(dialect=dialect, column_keys=list(columns))
    indexes = [columns.index(name) for name in statement.positiontup or ()]
    return statement.string, [(index, _bind_processor(table.c[columns[index]], dialect)) for index in indexes]


def _bind_processor(column: sa.Column, dialect: sa.Dialect) -> Callable[[Any], Any] | None:
    """Return the function that converts a column's values for SQLite's driver; None if none is needed."""
    return column.type.dialect_impl(dialect).bind_processor(dialect)


def list_missing_values(column: Any, values: Iterable[str]) -> list[str]:
    """Return the values that no row has, in ascending order. The caller must hold the lock on the catalogue."""
    unique = set(values)
    return sorted(unique - {row[0] for row in select_rows_in(sa.select(column), column, sorted(unique))})


def delete_rows(model: type[Base], column: str, keys: list) -> None:
    """Delete the rows whose `column` is one of `keys`."""
    for chunk in in_chunks(keys):
        db.session.execute(sa.delete(model).where(getattr(model, column).in_(chunk)))


def select_rows_in(select: sa.Select, column: Any, keys: Iterable[str] | Iterable[int]) -> Iterable[sa.Row]:
    """Return the rows of `select` whose `column` is one of `keys`, of which there may be any number.

    The keys are one parameter, so that the statement is compiled once, however many there are.
    """
    values = list(keys)
    if not values:
        return ()
    if db.session.connection().dialect.name == "postgresql":
        kind = sa.BigInteger() if isinstance(values[0], int) else sa.Text()
        is_one = column == sa.any_(sa.literal(values, ARRAY(kind)))
    else:
        is_one = column.in_(sa.select(sa.func.json_each(encode_json(values)).table_valued("value").c.value))
    return db.session.execute(select.where(is_one))


def allocate_pks(model: Any, count: int) -> range | list[int]:
    """Return `count` unused primary keys, in ascending order. The caller must hold the lock on the catalogue."""
    column = model.__table__.c.pk
    if db.session.connection().dialect.name == "postgresql":
        sequence = sa.func.pg_get_serial_sequence(model.__tablename__, "pk")
        return sorted(
            db.session.scalars(sa.select(sa.func.nextval(sequence)).select_from(sa.func.generate_series(1, count)))
        )
    last = db.session.scalar(sa.select(sa.func.max(column))) or 0
    return range(last + 1, last + count + 1)


def in_chunks(rows: list[Item]) -> Iterable[list[Item]]:
    """Yield the rows in lists of up to MAX_PARAMETERS."""
    return (rows[start : start + MAX_PARAMETERS] for start in range(0, len(rows), MAX_PARAMETERS))


def analyze_tables() -> None:
    """Update PostgreSQL's statistics of the catalogue's tables, in the caller's transaction."""
    if db.session.connection().dialect.name == "postgresql":
        db.session.execute(ANALYZE_CATALOG)
