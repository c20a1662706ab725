"""Removes the titles that an imported file does not name, unless they are too many."""

from collections.abc import Collection
from datetime import datetime

import sqlalchemy as sa

from streamsvc import clock
from streamsvc.models import Title
from streamsvc.operations.catalog.titles import bulk, editing, writing
from streamsvc.storage.database import db


class RemovalRefused(Exception):
    """No title was removed; the message says why."""


def remove_missing_titles(
    named: Collection[int] | sa.Select, rejected: int, max_percent: int, started_at: datetime
) -> int:
    """Remove the titles whose keys are not in `named`, in the caller's transaction; return how many.

    Titles created or changed after `started_at`, the start of the import, are newer than the file and stay. Raises
    RemovalRefused if a line was rejected, or if more than `max_percent` of the catalogue would be removed.
    """
    if rejected:
        raise RemovalRefused("Some lines were rejected, so no title was removed.")
    writing.lock_catalog()
    present = sa.select(Title.pk).where(Title.removed_at.is_(None))
    older = present.where(Title.updated_at <= started_at)
    if isinstance(named, sa.Select):
        missing = list(db.session.scalars(older.where(Title.pk.not_in(named))))
    else:
        missing = [pk for pk in db.session.scalars(older) if pk not in named]
    total = db.session.scalars(sa.select(sa.func.count()).select_from(present.subquery())).one()
    if len(missing) * 100 > max_percent * total:
        raise RemovalRefused(
            f"{len(missing)} of {total} titles are not in the file, more than {max_percent} %; none was removed."
        )
    for chunk in bulk.in_chunks(missing):
        editing.mark_titles_removed(chunk, clock.now())
    if missing:
        writing.increment_catalog_version()
    return len(missing)
