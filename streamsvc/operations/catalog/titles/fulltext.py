"""SQLite's full-text index under bulk writes: merged less often during them, and completely afterwards.

Each commit adds a segment to the index, and a search reads every segment. By default the index merges segments in
groups of four, which rewrites most of a large index repeatedly; in groups of eight an import costs a fifth less.
PostgreSQL's index has no segments.
"""

from typing import Any

import sqlalchemy as sa

from streamsvc.models import Title
from streamsvc.storage.database import db

SET_FTS_OPTION = (
    "INSERT INTO search_fts(search_fts, rank) VALUES (?, ?)",
    "INSERT INTO search_entries_fts(search_entries_fts, rank) VALUES (?, ?)",
    "INSERT INTO programme_entries_fts(programme_entries_fts, rank) VALUES (?, ?)",
)
BULK_AUTOMERGE, DEFAULT_AUTOMERGE = 8, 4
"""How many segments of similar size are merged into one."""
PAGES_PER_MERGE = 1_000
"""Pages of 4 KB merged in one transaction, about 0.2 s."""
MERGE_THRESHOLD = 0.01
"""The share of titles that must have been written for a merge to cost no more than the writes did."""


def start_bulk_writes() -> None:
    """Prepare the index for many titles, in the caller's transaction."""
    _set_fts_option("automerge", BULK_AUTOMERGE)


def complete_bulk_writes(written: int) -> bool:
    """Restore the index's defaults in the caller's transaction; return whether a merge pays after so many titles."""
    if not _set_fts_option("automerge", DEFAULT_AUTOMERGE):
        return False
    return written > MERGE_THRESHOLD * db.session.scalars(sa.select(sa.func.count()).select_from(Title)).one()


def merge_index_step() -> bool:
    """Merge a part of the index in the caller's transaction; return whether there may be more to merge."""
    if db.engine.dialect.name != "sqlite":
        return False
    connection: Any = db.session.connection().connection.dbapi_connection
    changes_before = connection.total_changes
    _set_fts_option("merge", -PAGES_PER_MERGE)
    changes = connection.total_changes - changes_before
    return changes > len(SET_FTS_OPTION)  # each command is a change; more are SQLite's sign that it merged something


def _set_fts_option(command: str, number: int) -> bool:
    """Send a command to both indexes; return False on PostgreSQL, which has none of this kind."""
    connection = db.session.connection()
    if connection.dialect.name != "sqlite":
        return False
    for statement in SET_FTS_OPTION:
        connection.exec_driver_sql(statement, (command, number))
    return True
