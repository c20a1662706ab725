"""Rows for whatever tables a database has: one in each, made from the columns' types and constraints alone."""

import re
from datetime import UTC, date, datetime

import sqlalchemy as sa

IN_LIST = re.compile(r"(\w+)\W*(?:::text)?\)*\s*(?:IN\s*\(|= ANY \(\(?ARRAY\[)\s*'([^']*)'")
"""A check of a column: `status IN ('active', …)`, or what PostgreSQL makes of it."""
EITHER = {"coupons": {"percent_ppm"}}
"""Nullable columns of which a check of the table wants one."""
AT = datetime(2026, 1, 1, tzinfo=UTC)


def insert_anything(connection: sa.Connection, mark: int) -> dict[str, dict]:
    """Insert a row into each table, parents first; {table: its row}. `mark` makes rows differ from those before."""
    metadata = sa.MetaData()
    metadata.reflect(connection)
    inspector, rows = sa.inspect(connection), {}
    for table in metadata.sorted_tables:
        if table.name == "alembic_version" or "_fts" in table.name:
            continue
        checks = " ".join(check["sqltext"] for check in inspector.get_check_constraints(table.name))
        allowed = {name: value for name, value in reversed(IN_LIST.findall(checks))}
        row = {
            column.name: _value(column, mark, rows, allowed)
            for column in table.columns
            if not column.nullable or column.foreign_keys or column.name in {*allowed, *EITHER.get(table.name, ())}
        }
        connection.execute(sa.insert(table).values(row))
        rows[table.name] = row
    return rows


def _value(column: sa.Column, mark: int, rows: dict[str, dict], allowed: dict[str, str]) -> object:
    for key in column.foreign_keys:
        parent = rows.get(key.column.table.name)
        return parent[key.column.name] if parent else None
    if column.name in allowed:
        return allowed[column.name]
    kind = column.type
    if isinstance(kind, sa.Boolean):
        return False
    if isinstance(kind, sa.Integer):
        return mark
    if isinstance(kind, sa.Numeric):
        return mark
    if isinstance(kind, sa.DateTime):
        return AT if column.type.timezone else AT.replace(tzinfo=None)
    if isinstance(kind, sa.Date):
        return date(2026, 1, 1)
    if isinstance(kind, sa.JSON):
        return {}
    if isinstance(kind, sa.LargeBinary):
        return b"%d" % mark
    return f"{column.name} {mark}"[-(getattr(kind, "length", None) or 99) :]
