"""Imports by API: the file is kept in pieces, the worker carries it out, and where it stopped it goes on."""

import gzip
import io
import zlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import dropwhile
from typing import BinaryIO

import sqlalchemy as sa

from streamsvc import clock, jobs
from streamsvc.database import db, insert
from streamsvc.models import Import, ImportChunk, ImportedTitle, ImportRejection, Title
from streamsvc.operations.catalog import bulk, editing, importing, indexing, writing

CHUNK_BYTES = 256 * 1024
LARGEST_BYTES = 64 << 20
TURN = timedelta(seconds=15)
"""How long the worker stays with one import before other jobs have their turn; well below a job's lease."""
COUNTS = ("added", "changed", "unchanged", "rejected")


def create(body: bytes, asked: dict, now: datetime) -> Import:
    """Keep a file and have the worker import it, in the caller's unit of work."""
    made = Import(
        status="queued",
        format=asked["format"],
        dry_run=asked["dry_run"],
        remove_missing=asked["remove_missing"],
        most_removals_percent=asked["most_removals_percent"],
        created_at=now,
    )
    db.session.add(made)
    db.session.flush()
    for position, at in enumerate(range(0, len(body), CHUNK_BYTES)):
        db.session.add(ImportChunk(import_id=made.id, position=position, body=body[at : at + CHUNK_BYTES]))
    jobs.enqueue("catalog_import", {"id": made.id}, now, dedupe=f"import {made.id}")
    return made


@jobs.handler("catalog_import")
def carry_on(payload: dict, now: datetime) -> None:
    """Import on from where it stopped; asks for another turn where time is up."""
    made = db.session.get(Import, payload["id"])
    if made is None or made.status in ("done", "failed"):
        return
    try:
        _import(made, now)
    except (OSError, EOFError, zlib.error) as broken:
        db.session.rollback()
        _end(made, now, "failed", error=f"The file cannot be unpacked: {broken}")
        return
    _finish(made, now)


def _import(made, now):
    until = clock.wall() + TURN
    entries = importing.READERS[made.format](unpacked(ChunkReader(made.id)))
    rest = dropwhile(lambda entry: entry.line <= made.lines_done, entries)
    memory = writing.Memory()
    for batch in importing.batches(rest):
        _import_batch(made, batch, memory)
        if clock.wall() > until:
            raise jobs.Retry(now)


def _import_batch(made, batch, memory):
    """One transaction: the batch, its rejections, and how far the file is done."""
    report = importing.Report()

    def also(told, pks):
        _keep_rejections(made.id, told)
        if made.remove_missing and not made.dry_run:
            _keep_named(made.id, pks)
        moved = {name: getattr(Import, name) + getattr(report, name) for name in COUNTS}
        done = sa.update(Import).where(Import.id == made.id)
        db.session.execute(done.values(status="running", lines_done=report.lines, **moved))

    importing.import_batch(batch, report, memory, made.dry_run, also)


def _keep_rejections(import_id, told):
    positions: dict[int, int] = {}
    for rejection in told:
        positions[rejection.line] = positions.get(rejection.line, -1) + 1
        row = {
            "import_id": import_id,
            "line": rejection.line,
            "position": positions[rejection.line],
            "external_id": rejection.external_id,
            **rejection.flaw._asdict(),
        }
        db.session.execute(insert(ImportRejection).values(row).on_conflict_do_nothing())


def _keep_named(import_id, pks: Iterable[int]):
    for some in bulk.slices(list(pks)):
        rows = [{"import_id": import_id, "title_pk": pk} for pk in some]
        db.session.execute(insert(ImportedTitle).values(rows).on_conflict_do_nothing())


def _finish(made, now):
    """The end of the file: titles that it did not name go, where that was asked for and they are not too many."""
    error, removed = None, 0
    if made.remove_missing and not made.dry_run:
        error, removed = _remove_missing(made, now)
    _end(made, now, "failed" if error else "done", error, removed)
    indexing.survey()


def _end(made, now, status, error=None, removed=0):
    for model in (ImportChunk, ImportedTitle):
        db.session.execute(sa.delete(model).where(model.import_id == made.id))
    ended = {"status": status, "error": error, "removed": removed, "finished_at": now}
    db.session.execute(sa.update(Import).where(Import.id == made.id).values(ended))


def _remove_missing(made, now):
    """(why not, how many titles went). Too many, or any line rejected: nothing goes."""
    if made.rejected:
        return "Some lines were rejected, so no title was removed.", 0
    writing.begin()
    named = sa.select(ImportedTitle.title_pk).where(ImportedTitle.import_id == made.id)
    present = sa.select(Title.pk).where(Title.removed_at.is_(None))
    missing = db.session.scalars(present.where(Title.pk.not_in(named))).all()
    total = db.session.scalar(sa.select(sa.func.count()).select_from(present.subquery()))
    if len(missing) * 100 > made.most_removals_percent * total:
        return (
            f"{len(missing)} of {total} titles are not in the file, more than {made.most_removals_percent} %;"
            " none was removed."
        ), 0
    for some in bulk.slices(missing):
        editing.withdraw(some, now)
    if missing:
        writing.touch()
    return None, len(missing)


class ChunkReader(io.RawIOBase):
    """The kept file, a piece at a time."""

    def __init__(self, import_id: str):
        self.import_id, self.position, self.left = import_id, 0, b""

    def readable(self):
        return True

    def readinto(self, buffer):
        if not self.left:
            piece = sa.select(ImportChunk.body).where(
                ImportChunk.import_id == self.import_id, ImportChunk.position == self.position
            )
            self.left = db.session.scalar(piece) or b""
            self.position += 1
        taken, self.left = self.left[: len(buffer)], self.left[len(buffer) :]
        buffer[: len(taken)] = taken
        return len(taken)


def unpacked(raw: io.RawIOBase) -> BinaryIO:
    """The file itself, where it came packed with gzip."""
    file = io.BufferedReader(raw, CHUNK_BYTES)
    return gzip.GzipFile(fileobj=file) if file.peek(2)[:2] == b"\x1f\x8b" else file
