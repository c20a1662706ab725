"""Many rows at once, in the caller's unit of work: COPY on PostgreSQL, one prepared statement on SQLite."""

from collections.abc import Iterable, Sequence
from operator import itemgetter

import sqlalchemy as sa

from streamsvc.storage.database import db

MOST_PARAMETERS = 500
ANALYZE = sa.text("ANALYZE titles, title_cards, title_facets, title_windows, title_credits, search_docs, search_words")


ROOMY = ("PRAGMA cache_size=-65536", "PRAGMA wal_autocheckpoint=25000")
"""64 MiB of pages in memory, and fewer copies from the log (of 100 MB): an import touches the same pages repeatedly."""


def make_room() -> None:
    """Prepare the connection of this unit of work for many rows."""
    connection = db.session.connection()
    if connection.dialect.name == "sqlite":
        for pragma in ROOMY:
            connection.exec_driver_sql(pragma)


def add(model, columns: Sequence[str], rows: list[tuple]) -> None:
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
    stored = [_as_stored(table.c[columns[place]], connection.dialect) for place in places]
    values = [
        map(store, map(itemgetter(place), rows)) if store else map(itemgetter(place), rows)
        for place, store in zip(places, stored, strict=True)
    ]
    connection.exec_driver_sql(statement.string, list(zip(*values, strict=True)))


def _as_stored(column, dialect):
    """What makes a column's value the number or text that SQLite's driver knows; None where it is."""
    return column.type.dialect_impl(dialect).bind_processor(dialect)


def missing(column, values: Iterable[str]) -> list[str]:
    """Those of the values that no row has, in order. The caller is alone in writing to the table."""
    wanted = set(values)
    return sorted(wanted - {row[0] for row in rows_by(sa.select(column), column, sorted(wanted))})


def remove(model, column: str, keys: list) -> None:
    """Delete the rows whose `column` is one of `keys`."""
    for some in slices(keys):
        db.session.execute(sa.delete(model).where(getattr(model, column).in_(some)))


def rows_by(select: sa.Select, column, keys: Iterable) -> Iterable[sa.Row]:
    """The rows of `select` whose `column` is one of `keys`, however many."""
    for some in slices(list(keys)):
        yield from db.session.execute(select.where(column.in_(some)))


def new_pks(model, count: int) -> range | list[int]:
    """As many fresh primary keys, growing. The caller is alone in writing to the table."""
    column = model.__table__.c.pk
    if db.session.connection().dialect.name == "postgresql":
        sequence = sa.func.pg_get_serial_sequence(model.__tablename__, "pk")
        return sorted(
            db.session.scalars(sa.select(sa.func.nextval(sequence)).select_from(sa.func.generate_series(1, count)))
        )
    last = db.session.scalar(sa.select(sa.func.max(column))) or 0
    return range(last + 1, last + count + 1)


def slices(rows: list) -> Iterable[list]:
    return (rows[at : at + MOST_PARAMETERS] for at in range(0, len(rows), MOST_PARAMETERS))


def analyze() -> None:
    """Have PostgreSQL count the catalogue's tables, in the caller's unit of work."""
    if db.session.connection().dialect.name == "postgresql":
        db.session.execute(ANALYZE)
