"""Imports through the API: the file is stored in chunks, and the worker imports it, resuming where it stopped."""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from io import BytesIO
from typing import Any
from zipfile import BadZipFile

import sqlalchemy as sa

from streamsvc import clock
from streamsvc.models import Import, ImportChunk, ImportedTitle, ImportRejection
from streamsvc.operations.catalog.formats import FileEntry, FileTooLarge, ReadOptions
from streamsvc.operations.catalog.imports import importing, missing, reading, stored_files
from streamsvc.operations.catalog.imports.stored_files import CHUNK_BYTES
from streamsvc.operations.catalog.titles import bulk, fulltext, indexing, writing
from streamsvc.operations.outbox import audit
from streamsvc.rules.refusals.requests import Invalid
from streamsvc.storage.database import db, execute_in_session, fetch_one, insert, lock_existing_row
from streamsvc.worker import jobs

MAX_FILE_BYTES = 64 << 20
MAX_ARCHIVE_LINES = 1_000_000
"""Lines of IMDb's files in one archive: each run joins them again, which must end well before a job's lease."""
MAX_RUN_TIME = timedelta(seconds=15)
"""How long one job works on an import before other jobs run; well below a job's lease."""
FINAL_STATUSES = ("done", "failed")
COUNT_COLUMNS = ("added", "changed", "unchanged", "rejected", "removed", "shared_media_folders")


class ImportTakenOver(Exception):
    """Another worker has taken over the import, since this one's lease expired."""


def guess_format(body: bytes, columns: Mapping[str, str]) -> str | None:
    """Return the format that the content of a file looks like, under these columns; None if it looks like none."""
    return stored_files.guess_format(stored_files.ArchiveReader(BytesIO(body)), ReadOptions(columns))  # type: ignore[arg-type]


def create_import(body: bytes, options: dict, now: datetime) -> Import:
    """Store a file and enqueue its import, in the caller's transaction. Raises Invalid.

    `options` has the members of ImportQuery, and whether the format was named or recognized.
    """
    if options["remove_missing"] and options["format"] in reading.LIVE_FORMATS:
        raise Invalid(errors={"remove_missing": ["Must be false for a format without titles."]})
    new_import = Import(
        status="queued",
        format=options["format"],
        format_guessed=options["format_guessed"],
        options={name: options[name] for name in ReadOptions._fields if options[name]},
        dry_run=options["dry_run"],
        remove_missing=options["remove_missing"],
        most_removals_percent=options["most_removals_percent"],
        warnings=[] if options["format_recognized"] else [_unrecognized_format_warning(options["format"])],
        created_at=now,
    )
    db.session.add(new_import)
    db.session.flush()
    for position, start in enumerate(range(0, len(body), CHUNK_BYTES)):
        db.session.add(ImportChunk(import_id=new_import.id, position=position, body=body[start : start + CHUNK_BYTES]))
    jobs.enqueue_job("catalog_import", {"id": new_import.id}, now, dedupe=f"import {new_import.id}")
    return new_import


def _unrecognized_format_warning(assumed: str) -> dict[str, Any]:
    reason = reading.explain_unrecognized_format(assumed, "?format=")
    return {"line": 1, "file": None, "field": "", "code": "unrecognized_format", "reason": reason, "count": 1}


@jobs.job_handler("catalog_import", jobs.BULK_LANE)
def handle_catalog_import(payload: dict, now: datetime) -> None:
    """Continue an import where it stopped. Raises Retry when the time is up, ImportTakenOver after a lost lease."""
    catalog_import = fetch_one(sa.select(*Import.__table__.c).where(Import.id == payload["id"]))
    if catalog_import is None or catalog_import.status in FINAL_STATUSES:
        return
    try:
        _import_file(catalog_import, now)
    except (OSError, EOFError, zlib.error, BadZipFile) as error:
        db.session.rollback()
        return _close_import(catalog_import, now, "failed", error=f"The file cannot be unpacked: {error}")
    except FileTooLarge as too_large:
        db.session.rollback()
        return _close_import(catalog_import, now, "failed", error=f"The file is too large: {too_large}")
    _complete_import(catalog_import, now)


def _import_file(catalog_import: Any, now: datetime) -> None:
    """Import batches until the file or the time is up; the file is read between transactions, holding no lock."""
    file, *others = stored_files.open_import_files(catalog_import.id, catalog_import.format)
    options = ReadOptions(**catalog_import.options)
    entries = reading.read_entries(
        catalog_import.format, file, catalog_import.lines_done, others, MAX_ARCHIVE_LINES, options
    )
    cache = writing.WriteCache()
    if not catalog_import.dry_run:
        fulltext.start_bulk_writes()
        db.session.commit()
    lines_done, until = catalog_import.lines_done, None
    for batch in importing.iter_batches(entries):
        until = until or clock.wall_time() + MAX_RUN_TIME
        lines_done = _import_batch(catalog_import, batch, cache, lines_done)
        if clock.wall_time() > until:
            raise jobs.Retry(now)


def _import_batch(catalog_import: Any, batch: list[FileEntry], cache: writing.WriteCache, after: int) -> int:
    """Import a batch, its rejections and the progress in one transaction; return the lines done.

    Raises ImportTakenOver.
    """
    report = importing.CatalogImportReport()

    def record_progress(rejections: Any, pks: Any) -> None:
        _store_rejections(catalog_import.id, rejections)
        if catalog_import.remove_missing and not catalog_import.dry_run:
            _store_named_titles(catalog_import.id, pks)
        counts: dict[str, Any] = {name: getattr(Import, name) + getattr(report, name) for name in COUNT_COLUMNS}
        if report.warnings:
            counts["warnings"] = importing.add_warning_counts(_stored_warnings(catalog_import.id), report.warnings)
        progress = sa.update(Import).where(Import.id == catalog_import.id, Import.lines_done == after)
        if execute_in_session(progress.values(status="running", lines_done=report.lines, **counts)) != 1:
            raise ImportTakenOver

    importing.import_batch(batch, report, cache, catalog_import.dry_run, record_progress)
    return report.lines


def _stored_warnings(import_id: str) -> list[dict]:
    return db.session.scalars(sa.select(Import.warnings).where(Import.id == import_id)).one()


def _store_rejections(import_id: str, rejections: Sequence[importing.EntryRejection]) -> None:
    positions: dict[int, int] = {}
    rows = []
    for rejection in rejections:
        overall_line = rejection.before + rejection.line
        positions[overall_line] = positions.get(overall_line, rejection.before - 1) + 1
        row = {
            "import_id": import_id,
            "line": rejection.line,
            "position": positions[overall_line],
            "file": rejection.file,
            "external_id": rejection.external_id,
            **rejection.error._asdict(),
        }
        rows.append(row)
    if rows:
        db.session.execute(insert(ImportRejection).on_conflict_do_nothing(), rows)


def _store_named_titles(import_id: str, pks: Iterable[int]) -> None:
    for chunk in bulk.in_chunks(list(pks)):
        rows = [{"import_id": import_id, "title_pk": pk} for pk in chunk]
        db.session.execute(insert(ImportedTitle).values(rows).on_conflict_do_nothing())


def _complete_import(catalog_import: Any, now: datetime) -> None:
    """Complete an import at the end of its file; remove missing titles if requested, unless they are too many."""
    error, removed = None, 0
    catalog_import = _lock_import(catalog_import)
    if catalog_import.remove_missing and not catalog_import.dry_run:
        named_pks = sa.select(ImportedTitle.title_pk).where(ImportedTitle.import_id == catalog_import.id)
        try:
            removed = missing.remove_missing_titles(
                named_pks, catalog_import.rejected, catalog_import.most_removals_percent, catalog_import.created_at
            )
        except missing.RemovalRefused as refusal:
            error = str(refusal)
    _close_import(catalog_import, now, "failed" if error else "done", error, removed)
    indexing.update_catalog_statistics()
    if not catalog_import.dry_run and fulltext.complete_bulk_writes(catalog_import.added + catalog_import.changed):
        jobs.enqueue_job("catalog_search_merge", {}, now, dedupe=f"search merge {catalog_import.id}")


def _lock_import(catalog_import: sa.Row) -> Import:
    """Return the import, locked until the transaction ends. Raises ImportTakenOver if it has ended already."""
    writing.lock_catalog()
    locked = lock_existing_row(Import, catalog_import.id)
    if locked.status in FINAL_STATUSES:
        raise ImportTakenOver
    return locked


def _close_import(catalog_import: Any, now: datetime, status: str, error: str | None = None, removed: int = 0) -> None:
    locked = _lock_import(catalog_import)
    for model in (ImportChunk, ImportedTitle):
        db.session.execute(sa.delete(model).where(model.import_id == catalog_import.id))
    removed += locked.removed
    values = {"status": status, "error": error, "removed": removed, "finished_at": now}
    db.session.execute(sa.update(Import).where(Import.id == catalog_import.id).values(values))
    counts = {name: getattr(locked, name) for name in COUNT_COLUMNS} | {"removed": removed}
    named = {"type": "import", "id": catalog_import.id}
    audit.record_event("catalog_imported", object=named, status=status, dry_run=locked.dry_run, **counts)
