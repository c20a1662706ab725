"""Imports by API: the file is kept in pieces, the worker carries it out, and where it stopped it goes on."""

import zlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from zipfile import BadZipFile

import sqlalchemy as sa

from streamsvc import clock
from streamsvc.models import Import, ImportChunk, ImportedTitle, ImportRejection
from streamsvc.operations.catalog.formats import FileTooLarge
from streamsvc.operations.catalog.imports import importing, missing, stored_files
from streamsvc.operations.catalog.imports.stored_files import CHUNK_BYTES
from streamsvc.operations.catalog.titles import bulk, fulltext, indexing, writing
from streamsvc.storage.database import db, fetch_one, insert, lock_row
from streamsvc.worker import jobs

MAX_FILE_BYTES = 64 << 20
MAX_ARCHIVE_LINES = 1_000_000
"""Lines of IMDb's files in one archive: each turn joins them anew, which is to end well before a job's lease."""
MAX_RUN_TIME = timedelta(seconds=15)
"""How long the worker stays with one import before other jobs have their turn; well below a job's lease."""
FINAL_STATUSES = ("done", "failed")
COUNT_COLUMNS = ("added", "changed", "unchanged", "rejected")


class ImportTakenOver(Exception):
    """Another worker goes on with the import: this one was so slow that its lease ran out."""


def create_import(body: bytes, options: dict, now: datetime) -> Import:
    """Keep a file and have the worker import it, in the caller's unit of work."""
    made = Import(
        status="queued",
        format=options["format"],
        dry_run=options["dry_run"],
        remove_missing=options["remove_missing"],
        most_removals_percent=options["most_removals_percent"],
        created_at=now,
    )
    db.session.add(made)
    db.session.flush()
    for position, at in enumerate(range(0, len(body), CHUNK_BYTES)):
        db.session.add(ImportChunk(import_id=made.id, position=position, body=body[at : at + CHUNK_BYTES]))
    jobs.enqueue_job("catalog_import", {"id": made.id}, now, dedupe=f"import {made.id}")
    return made


@jobs.job_handler("catalog_import")
def handle_catalog_import(payload: dict, now: datetime) -> None:
    """Import on from where it stopped; asks for another turn where time is up."""
    made = fetch_one(sa.select(*Import.__table__.c).where(Import.id == payload["id"]))
    if made is None or made.status in FINAL_STATUSES:
        return
    try:
        _import_file(made, now)
    except (OSError, EOFError, zlib.error, BadZipFile) as broken:
        db.session.rollback()
        return _close_import(made, now, "failed", error=f"The file cannot be unpacked: {broken}")
    except FileTooLarge as large:
        db.session.rollback()
        return _close_import(made, now, "failed", error=f"The file is too large: {large}")
    _complete_import(made, now)


def _import_file(made, now):
    """The file is read between units of work, so that nobody waits for it."""
    file, *others = stored_files.open_import_files(made.id, archives=made.format == "imdb")
    entries = importing.read_entries(made.format, file, made.lines_done, others, MAX_ARCHIVE_LINES)
    memory = writing.WriteCache()
    if not made.dry_run:
        fulltext.start_bulk_writes()
        db.session.commit()
    lines_done, until = made.lines_done, None
    for batch in importing.iter_batches(entries):
        until = until or clock.wall_time() + MAX_RUN_TIME
        lines_done = _import_batch(made, batch, memory, lines_done)
        if clock.wall_time() > until:
            raise jobs.Retry(now)


def _import_batch(made, batch, cache, after):
    """One transaction: the batch, its rejections, and how far the file is done, which it gives. Raises TakenOver."""
    report = importing.CatalogImportReport()

    def also(told, pks):
        _store_rejections(made.id, told)
        if made.remove_missing and not made.dry_run:
            _store_named_titles(made.id, pks)
        moved = {name: getattr(Import, name) + getattr(report, name) for name in COUNT_COLUMNS}
        done = sa.update(Import).where(Import.id == made.id, Import.lines_done == after)
        if db.session.execute(done.values(status="running", lines_done=report.lines, **moved)).rowcount != 1:
            raise ImportTakenOver

    importing.import_batch(batch, report, cache, made.dry_run, also)
    return report.lines


def _store_rejections(import_id, rejections):
    positions: dict[int, int] = {}
    rows = []
    for rejection in rejections:
        place = rejection.before + rejection.line
        positions[place] = positions.get(place, rejection.before - 1) + 1
        row = {
            "import_id": import_id,
            "line": rejection.line,
            "position": positions[place],
            "external_id": rejection.external_id,
            **rejection.error._asdict(),
        }
        rows.append(row)
    if rows:
        db.session.execute(insert(ImportRejection).on_conflict_do_nothing(), rows)


def _store_named_titles(import_id, pks: Iterable[int]):
    for some in bulk.in_chunks(list(pks)):
        rows = [{"import_id": import_id, "title_pk": pk} for pk in some]
        db.session.execute(insert(ImportedTitle).values(rows).on_conflict_do_nothing())


def _complete_import(made, now):
    """The end of the file: titles that it did not name go, where that was asked for and they are not too many."""
    error, removed = None, 0
    made = _lock_import(made)
    if made.remove_missing and not made.dry_run:
        named = sa.select(ImportedTitle.title_pk).where(ImportedTitle.import_id == made.id)
        try:
            removed = missing.remove_missing_titles(named, made.rejected, made.most_removals_percent, made.created_at)
        except missing.RemovalRefused as why:
            error = str(why)
    _close_import(made, now, "failed" if error else "done", error, removed)
    indexing.update_catalog_statistics()
    if not made.dry_run and fulltext.complete_bulk_writes(made.added + made.changed):
        jobs.enqueue_job("catalog_search_merge", {}, now, dedupe=f"search merge {made.id}")


def _lock_import(made):
    """The import, which nobody else ends until the unit of work does. Raises TakenOver where it ended already."""
    writing.lock_catalog()
    held = lock_row(Import, made.id)
    if held.status in FINAL_STATUSES:
        raise ImportTakenOver
    return held


def _close_import(made, now, status, error=None, removed=0):
    _lock_import(made)
    for model in (ImportChunk, ImportedTitle):
        db.session.execute(sa.delete(model).where(model.import_id == made.id))
    ended = {"status": status, "error": error, "removed": removed, "finished_at": now}
    db.session.execute(sa.update(Import).where(Import.id == made.id).values(ended))
