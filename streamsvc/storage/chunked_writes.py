"""Writes to many rows, in short transactions of a bounded number of them.

SQLite has a single writer. So no cleanup may hold its write lock for long, however much there is to delete: everybody
else writes between two of its chunks.
"""

import time
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import InstrumentedAttribute

from streamsvc.storage.database import fetch_all, write_transaction

CHUNK_SIZE = 250
"""Rows per transaction: SQLite deletes them in a few milliseconds, see docs/reliability.md."""
PAUSE_S = 0.005
"""Between two chunks: other processes check for SQLite's write lock every millisecond."""


def let_others_write() -> None:
    """Pause between two transactions of long work."""
    time.sleep(PAUSE_S)


def write_in_chunks(keys: sa.Select[Any], write: Callable[[sa.Connection, list], None]) -> int:
    """Select up to `CHUNK_SIZE` keys, and `write(connection, keys)` to their rows in a transaction, until none is left.

    `keys` must not select again what has been written. They are read outside of the transaction, so `write` must check
    them again. Returns how many were selected. Must not be called while `db.session` is in a transaction.
    """
    count = 0
    while chunk := [row[0] for row in fetch_all(keys.limit(CHUNK_SIZE))]:
        with write_transaction() as connection:
            write(connection, chunk)
        count += len(chunk)
        if len(chunk) < CHUNK_SIZE:
            break
        let_others_write()
    return count


def delete_in_chunks(
    oldest: InstrumentedAttribute[Any],
    *is_expired: sa.ColumnElement[bool],
    among: tuple[sa.ColumnElement[bool], ...] = (),
    referenced_by: InstrumentedAttribute[Any] | None = None,
) -> int:
    """Delete the expired rows of a table in chunks, from the oldest on; returns how many.

    `oldest`: an indexed column in whose order rows expire, of the rows `among` which to look. Reading ends with the
    first chunk of which not all have expired, so what has not is not read again and again. `referenced_by`: a column
    of another table whose rows are deleted with those that it references. Must not be called while `db.session` is in
    a transaction.
    """
    table: sa.Table = oldest.class_.__table__
    (key,) = table.primary_key
    front = sa.select(key).where(*among).order_by(oldest).limit(CHUNK_SIZE)
    expired = sa.select(key).where(key.in_(front), *is_expired)

    def delete(connection: sa.Connection, chunk: list) -> None:
        if referenced_by is not None:
            connection.execute(sa.delete(referenced_by.class_).where(referenced_by.in_(chunk)))
        connection.execute(sa.delete(table).where(key.in_(chunk), *is_expired))

    return write_in_chunks(expired, delete)
