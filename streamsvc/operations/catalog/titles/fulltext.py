"""SQLite's full-text index under many writes: merged seldom meanwhile, and into one piece afterwards.

Each commit adds a piece to the index, and a search looks into every piece. By itself the index merges them four by
four, which rewrites most of a large one again and again; merged by eights an import costs a fifth less. PostgreSQL's
index has no pieces.
"""

import sqlalchemy as sa

from streamsvc.models import Title
from streamsvc.storage.database import db

BULK_AUTOMERGE, DEFAULT_AUTOMERGE = 8, 4
"""How many pieces of like size are merged into one."""
PAGES_PER_MERGE = 1_000
"""Pages of 4 KB that are merged in one unit of work: about 0.2 s."""
MERGE_THRESHOLD = 0.01
"""Share of the titles that has to be written for a merge to cost no more than the writing did."""


def start_bulk_writes() -> None:
    """Prepare the index for many titles, in the caller's unit of work."""
    _set_fts_option("automerge", BULK_AUTOMERGE)


def complete_bulk_writes(written: int) -> bool:
    """Have the index as it usually is, in the caller's unit of work; whether merging pays after so many titles."""
    if not _set_fts_option("automerge", DEFAULT_AUTOMERGE):
        return False
    return written > MERGE_THRESHOLD * db.session.scalar(sa.select(sa.func.count()).select_from(Title))


def merge_index_step() -> bool:
    """Merge a little, in the caller's unit of work; whether there may be more to merge."""
    if db.engine.dialect.name != "sqlite":
        return False
    raw = db.session.connection().connection.dbapi_connection
    before = raw.total_changes
    _set_fts_option("merge", -PAGES_PER_MERGE)
    return raw.total_changes - before >= 2  # so SQLite tells that there was something to do


def _set_fts_option(command: str, number: int) -> bool:
    connection = db.session.connection()
    if connection.dialect.name != "sqlite":
        return False
    connection.exec_driver_sql("INSERT INTO search_fts(search_fts, rank) VALUES (?, ?)", (command, number))
    return True
