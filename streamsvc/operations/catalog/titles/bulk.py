"""Many rows at once, in the caller's unit of work: COPY on PostgreSQL, one prepared statement on SQLite."""

from collections.abc import Iterable, Sequence
from operator import itemgetter

import sqlalchemy as sa

from streamsvc.storage.database import db

MAX_PARAMETERS = 500
ANALYZE_CATALOG = sa.text(
    "ANALYZE titles, title_cards, title_facets, title_windows, title_credits, search_docs, search_words"
)


BULK_WRITE_PRAGMAS = ("PRAGMA cache_size=-65536", "PRAGMA wal_autocheckpoint=25000")
"""64 MiB of pages in memory, and fewer copies from the log (of 100 MB): an import touches the same pages repeatedly."""


def prepare_connection() -> None:
    """Prepare the connection of this unit of work for many rows."""
    connection = db.session.connection()
    if connection.dialect.name == "sqlite":
        for pragma in BULK_WRITE_PRAGMAS:
            connection.exec_driver_sql(pragma)


def insert_rows(model, columns: Sequence[str], rows: list[tuple]) -> None:
    """Insert tuples in the order of `columns`. JSON comes as text, moments in UTC."""
    if not rows:
        return
    connection = db.session.connection()
    table = model.__table__
    if connection.dialect.name == "postgresql":
        with connection.connection.cursor() as cursor:
            names = ", ".join(f'"{name}"' for name in columns)
            with cursor.copy(f'COPY "{table.name}" ({names}) FROM STDIN') as copy:
                for row in rows:
                    copy.write_row(row)
        return
    statement = table.insert().compile(dialect=connection.dialect, column_keys=list(columns))
    places = [columns.index(name) for name in statement.positiontup]
    stored = [_bind_processor(table.c[columns[place]], connection.dialect) for place in places]
    values = [
        map(store, map(itemgetter(place), rows)) if store else map(itemgetter(place), rows)
        for place, store in zip(places, stored, strict=True)
    ]
    connection.exec_driver_sql(statement.string, list(zip(*values, strict=True)))


def _bind_processor(column, dialect):
    """What makes a column's value the number or text that SQLite's driver knows; None where it is."""
    return column.type.dialect_impl(dialect).bind_processor(dialect)


def list_missing_values(column, values: Iterable[str]) -> list[str]:
    """Those of the values that no row has, in order. The caller is alone in writing to the table."""
    wanted = set(values)
    return sorted(wanted - {row[0] for row in select_rows_in(sa.select(column), column, sorted(wanted))})


def delete_rows(model, column: str, keys: list) -> None:
    """Delete the rows whose `column` is one of `keys`."""
    for some in in_chunks(keys):
        db.session.execute(sa.delete(model).where(getattr(model, column).in_(some)))


def select_rows_in(select: sa.Select, column, keys: Iterable) -> Iterable[sa.Row]:
    """The rows of `select` whose `column` is one of `keys`, however many."""
    for some in in_chunks(list(keys)):
        yield from db.session.execute(select.where(column.in_(some)))


def allocate_pks(model, count: int) -> range | list[int]:
    """As many fresh primary keys, growing. The caller is alone in writing to the table."""
    column = model.__table__.c.pk
    if db.session.connection().dialect.name == "postgresql":
        sequence = sa.func.pg_get_serial_sequence(model.__tablename__, "pk")
        return sorted(
            db.session.scalars(sa.select(sa.func.nextval(sequence)).select_from(sa.func.generate_series(1, count)))
        )
    last = db.session.scalar(sa.select(sa.func.max(column))) or 0
    return range(last + 1, last + count + 1)


def in_chunks(rows: list) -> Iterable[list]:
    return (rows[at : at + MAX_PARAMETERS] for at in range(0, len(rows), MAX_PARAMETERS))


def analyze_tables() -> None:
    """Have PostgreSQL count the catalogue's tables, in the caller's unit of work."""
    if db.session.connection().dialect.name == "postgresql":
        db.session.execute(ANALYZE_CATALOG)
