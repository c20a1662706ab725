"""A full sync's end: the titles that the file did not name are taken out, unless that would be too many."""

from collections.abc import Collection
from datetime import datetime

import sqlalchemy as sa

from streamsvc import clock
from streamsvc.models import Title
from streamsvc.operations.catalog.titles import bulk, editing, writing
from streamsvc.storage.database import db


class RemovalRefused(Exception):
    """Why no title was taken out."""


def remove_missing_titles(
    named: Collection[int] | sa.Select, rejected: int, max_percent: int, started_at: datetime
) -> int:
    """Take out the titles whose keys are not `named`, in the caller's unit of work; how many. Raises NotRemoved.

    What somebody added or changed since the import `began` is newer than the file, and stays. Where a line was
    rejected, or more than `most_percent` of the catalogue would go, nothing does.
    """
    if rejected:
        raise RemovalRefused("Some lines were rejected, so no title was removed.")
    writing.lock_catalog()
    present = sa.select(Title.pk).where(Title.removed_at.is_(None))
    older = present.where(Title.updated_at <= started_at)
    if isinstance(named, sa.Select):
        missing = db.session.scalars(older.where(Title.pk.not_in(named))).all()
    else:
        missing = [pk for pk in db.session.scalars(older) if pk not in named]
    total = db.session.scalar(sa.select(sa.func.count()).select_from(present.subquery()))
    if len(missing) * 100 > max_percent * total:
        raise RemovalRefused(
            f"{len(missing)} of {total} titles are not in the file, more than {max_percent} %; none was removed."
        )
    for some in bulk.in_chunks(missing):
        editing.mark_titles_removed(some, clock.now())
    if missing:
        writing.increment_catalog_version()
    return len(missing)
