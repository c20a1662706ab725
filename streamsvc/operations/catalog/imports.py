"""Imports by API: the file is kept in pieces, the worker carries it out, and where it stopped it goes on."""

import gzip
import io
import zlib
from collections.abc import Iterable
from datetime import datetime, timedelta

import sqlalchemy as sa

from streamsvc import clock, jobs
from streamsvc.database import db, insert, lock
from streamsvc.models import Import, ImportChunk, ImportedTitle, ImportRejection
from streamsvc.operations.catalog import bulk, fulltext, importing, indexing, missing, writing
from streamsvc.operations.catalog.formats import TooLarge
from streamsvc.operations.catalog.importing import PACKED

CHUNK_BYTES = 256 * 1024
LARGEST_BYTES, LARGEST_UNPACKED_BYTES = 64 << 20, 4 << 30
TURN = timedelta(seconds=15)
"""How long the worker stays with one import before other jobs have their turn; well below a job's lease."""
ENDED = ("done", "failed")
COUNTS = ("added", "changed", "unchanged", "rejected")


class TakenOver(Exception):
    """Another worker goes on with the import: this one was so slow that its lease ran out."""


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
    if made is None or made.status in ENDED:
        return
    try:
        _import(made, now)
    except (OSError, EOFError, zlib.error) as broken:
        db.session.rollback()
        return _end(made, now, "failed", error=f"The file cannot be unpacked: {broken}")
    except TooLarge as large:
        db.session.rollback()
        return _end(made, now, "failed", error=f"The file is too large: {large}")
    _finish(made, now)


def _import(made, now):
    until = clock.wall() + TURN
    entries = importing.entries(made.format, unpacked(ChunkReader(made.id)), after=made.lines_done)
    memory = writing.Memory()
    if not made.dry_run:
        fulltext.expect_many()
    lines_done = made.lines_done
    for batch in importing.batches(entries):
        lines_done = _import_batch(made, batch, memory, lines_done)
        if clock.wall() > until:
            raise jobs.Retry(now)


def _import_batch(made, batch, memory, after):
    """One transaction: the batch, its rejections, and how far the file is done, which it gives. Raises TakenOver."""
    report = importing.Report()

    def also(told, pks):
        _keep_rejections(made.id, told)
        if made.remove_missing and not made.dry_run:
            _keep_named(made.id, pks)
        moved = {name: getattr(Import, name) + getattr(report, name) for name in COUNTS}
        done = sa.update(Import).where(Import.id == made.id, Import.lines_done == after)
        if db.session.execute(done.values(status="running", lines_done=report.lines, **moved)).rowcount != 1:
            raise TakenOver

    importing.import_batch(batch, report, memory, made.dry_run, also)
    return report.lines


def _keep_rejections(import_id, told):
    positions: dict[int, int] = {}
    rows = []
    for rejection in told:
        positions[rejection.line] = positions.get(rejection.line, -1) + 1
        row = {
            "import_id": import_id,
            "line": rejection.line,
            "position": positions[rejection.line],
            "external_id": rejection.external_id,
            **rejection.flaw._asdict(),
        }
        rows.append(row)
    if rows:
        db.session.execute(insert(ImportRejection).on_conflict_do_nothing(), rows)


def _keep_named(import_id, pks: Iterable[int]):
    for some in bulk.slices(list(pks)):
        rows = [{"import_id": import_id, "title_pk": pk} for pk in some]
        db.session.execute(insert(ImportedTitle).values(rows).on_conflict_do_nothing())


def _finish(made, now):
    """The end of the file: titles that it did not name go, where that was asked for and they are not too many."""
    error, removed = None, 0
    _hold(made)
    if made.remove_missing and not made.dry_run:
        named = sa.select(ImportedTitle.title_pk).where(ImportedTitle.import_id == made.id)
        try:
            removed = missing.take_out(named, made.rejected, made.most_removals_percent, made.created_at)
        except missing.NotRemoved as why:
            error = str(why)
    _end(made, now, "failed" if error else "done", error, removed)
    indexing.survey()
    if not made.dry_run and fulltext.settle(made.added + made.changed):
        jobs.enqueue("catalog_search_merge", {}, now, dedupe=f"search merge {made.id}")


def _hold(made):
    """Nobody else ends the import until the unit of work does. Raises TakenOver where it ended already."""
    writing.begin()
    if lock(Import, made.id).status in ENDED:
        raise TakenOver


def _end(made, now, status, error=None, removed=0):
    _hold(made)
    for model in (ImportChunk, ImportedTitle):
        db.session.execute(sa.delete(model).where(model.import_id == made.id))
    ended = {"status": status, "error": error, "removed": removed, "finished_at": now}
    db.session.execute(sa.update(Import).where(Import.id == made.id).values(ended))


class Rereadable(io.RawIOBase):
    """A stream that can be read again from its beginning, and from nowhere else."""

    place = 0

    def readable(self):
        return True

    def seekable(self):
        return True

    def seek(self, offset, whence=io.SEEK_SET):
        if (offset, whence) == (0, io.SEEK_SET):
            self.place = 0
            self.rewind()
        elif (offset, whence) != (0, io.SEEK_CUR):
            raise io.UnsupportedOperation("the beginning alone can be gone back to")
        return self.place

    def readinto(self, buffer):
        count = self.read_into(buffer)
        self.place += count
        return count


class ChunkReader(Rereadable):
    """The kept file, a piece at a time."""

    def __init__(self, import_id: str):
        self.import_id = import_id
        self.rewind()

    def rewind(self):
        self.position, self.left = 0, b""

    def read_into(self, buffer):
        if not self.left:
            piece = sa.select(ImportChunk.body).where(
                ImportChunk.import_id == self.import_id, ImportChunk.position == self.position
            )
            self.left = db.session.scalar(piece) or b""
            self.position += 1
        taken, self.left = self.left[: len(buffer)], self.left[len(buffer) :]
        buffer[: len(taken)] = taken
        return len(taken)


class Unpacked(Rereadable):
    """What a packed file holds. Raises TooLarge behind as many bytes as a file may unpack to."""

    def __init__(self, packed: Rereadable):
        self.file = gzip.GzipFile(fileobj=io.BufferedReader(packed, CHUNK_BYTES))

    def rewind(self):
        self.file.seek(0)

    def read_into(self, buffer):
        if self.place > LARGEST_UNPACKED_BYTES:
            raise TooLarge(f"It unpacks to more than {LARGEST_UNPACKED_BYTES} bytes.")
        return self.file.readinto(buffer)


def unpacked(raw: io.RawIOBase) -> io.BufferedReader:
    """The file itself, where it came packed with gzip."""
    packed = raw.read(2) == PACKED
    raw.seek(0)
    return io.BufferedReader(Unpacked(raw) if packed else raw, CHUNK_BYTES)
