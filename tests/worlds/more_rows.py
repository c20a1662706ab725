"""More of everything that a database has, for tests that compare one row of a list with twelve."""

import sqlalchemy as sa

OWNERS = {"account_id", "profile_id"}
"""Columns that keep their value, so that the copies have the same owner."""
VALUES = {"subscriptions": {"status": "canceled"}}
"""Columns of copies that cannot be as in the original: an account has one live subscription."""


def copy_rows(connection: sa.Connection, metadata: sa.MetaData, copies: int) -> None:
    """Add copies of every row, which refer to each other as the rows do, but belong to the same accounts and profiles.

    Copies that a unique index refuses are left out.
    """
    is_sqlite = connection.dialect.name == "sqlite"
    connection.exec_driver_sql("PRAGMA foreign_keys=OFF" if is_sqlite else "SET session_replication_role = replica")
    for table in metadata.sorted_tables:
        renamed = _identifying_columns(table)
        for number in range(1, copies + 1):
            columns = {column.name: _copied_value(column, number, renamed) for column in table.c}
            names = ", ".join(f'"{name}"' for name in columns)
            values = ", ".join(columns.values())
            connection.exec_driver_sql(
                f"INSERT INTO {table.name} ({names}) SELECT {values} FROM snapshot_{table.name} WHERE true"  # noqa: S608
                " ON CONFLICT DO NOTHING"
            )
    connection.exec_driver_sql("PRAGMA foreign_keys=ON" if is_sqlite else "RESET session_replication_role")


def _identifying_columns(table: sa.Table) -> set[str]:
    """Return the columns whose values differ in each copy: keys, references, and those that must be unique."""
    keys = {column.name for column in table.primary_key} | {key.parent.name for key in table.foreign_keys}
    unique = {column.name for index in table.indexes if index.unique for column in index.columns}
    unique |= {
        column.name
        for constraint in table.constraints
        if isinstance(constraint, sa.UniqueConstraint)
        for column in constraint.columns
    }
    references = {column.name for column in table.c if column.name.endswith(("_id", "_pk"))}
    return (keys | unique | references) - OWNERS


def _copied_value(column: sa.Column, number: int, renamed: set[str]) -> str:
    """Return the SQL expression of a copy's value."""
    if value := VALUES.get(column.table.name, {}).get(column.name):
        return f"'{value}'"
    if column.name not in renamed:
        return f'"{column.name}"'
    if isinstance(column.type, sa.Integer):
        return f'"{column.name}" + {1000 * number}'
    if not isinstance(column.type, sa.String):
        return f'"{column.name}"'
    # codes of countries and currencies stay as they are
    return f"""CASE WHEN length("{column.name}") > 3 THEN substr("{column.name}", 1, length("{column.name}") - 2)
        || '{number:02}' ELSE "{column.name}" END"""
