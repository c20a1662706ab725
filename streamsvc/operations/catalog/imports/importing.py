"""Imports a file of titles, channels or programmes.

Valid entries are written; others are reported with line, field, code and reason.
"""

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from streamsvc import clock
from streamsvc.models import Title, TitleRecord
from streamsvc.operations.catalog.formats import FileEntry
from streamsvc.operations.catalog.imports import imported_collections, live_entries, missing
from streamsvc.operations.catalog.people.writing import write_people
from streamsvc.operations.catalog.titles import bulk, fulltext, indexing, media_conflicts, media_files, writing
from streamsvc.rules.catalog.parts import merge_partial_record
from streamsvc.rules.catalog.record import FieldError, InvalidRecord, convert_record
from streamsvc.rules.catalog.text import is_storable, sanitize_text
from streamsvc.storage.database import db

INITIAL_BATCH_SIZE, MIN_BATCH_SIZE, MAX_BATCH_SIZE = 250, 50, 1_000
"""Titles in one transaction; larger batches cost less per title."""
TARGET_TRANSACTION_S = 0.6
"""The intended duration of a transaction, in seconds, for which other writers have to wait."""
MAX_REPORTED_REJECTIONS = 1_000
MAX_REPORTED_WARNINGS = 100
"""Kinds of warnings in a report, each with the number of its entries."""
MAX_ID_LENGTH, MAX_FIELD_LENGTH, MAX_REASON_LENGTH = 200, 200, 500
STORED_RECORDS = sa.select(Title.external_id, TitleRecord.body).join(TitleRecord, TitleRecord.title_pk == Title.pk)


class EntryRejection(NamedTuple):
    """One error of a rejected entry."""

    line: int
    external_id: str | None
    error: FieldError
    before: int = 0
    """How many lines of other files precede this file's."""
    file: str | None = None
    """The path of the entry's file inside a folder or an archive."""


@dataclass
class CatalogImportReport:
    """The result of an import. `rejected` counts all rejected entries; `rejections` has the first thousand errors.

    `warnings` counts what was guessed or left out, by field and code, with the first line and file of each.
    """

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    rejected: int = 0
    removed: int = 0
    lines: int = 0
    shared_media_folders: int = 0
    """Manifests that lie in a folder with another item's."""
    not_removed: str | None = None
    """Why titles missing from the file were not removed although that was requested."""
    errors: int = 0
    """Errors of all rejected entries."""
    rejections: list[EntryRejection] = field(default_factory=list)
    """The first of these errors."""
    warnings: list[dict[str, Any]] = field(default_factory=list)

    def add_outcome(self, outcome: Counter) -> None:
        """Add the counts of a batch."""
        for name, number in outcome.items():
            setattr(self, name, getattr(self, name) + number)

    def add_rejections(self, entry: FileEntry) -> list[EntryRejection]:
        """Count a rejected entry and return its errors."""
        name = entry.external_id and sanitize_text(entry.external_id, MAX_ID_LENGTH)
        file = entry.file and sanitize_text(entry.file, MAX_FIELD_LENGTH)
        rejections = [
            EntryRejection(entry.line, name, _sanitize_error(error), entry.before, file) for error in entry.errors
        ]
        self.rejected += 1
        self.errors += len(rejections)
        self.rejections += rejections[: max(0, MAX_REPORTED_REJECTIONS - len(self.rejections))]
        return rejections

    def add_warnings(self, entry: FileEntry) -> None:
        """Count the entry's warnings, one of a kind once."""
        file = entry.file and sanitize_text(entry.file, MAX_FIELD_LENGTH)
        for warning in dict.fromkeys(entry.warnings):
            name = sanitize_text(warning.field, MAX_FIELD_LENGTH)
            reason = sanitize_text(warning.reason, MAX_REASON_LENGTH)
            place = {"line": entry.line, "file": file, "field": name, "code": warning.code, "reason": reason}
            self.warnings = add_warning_counts(self.warnings, [{**place, "count": 1}])


def add_warning_counts(counted: list[dict[str, Any]], more: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the warnings with those of another list added: one per field and code, the first of each kind kept."""
    totals = {(warning["field"], warning["code"]): dict(warning) for warning in counted}
    for warning in more:
        key = warning["field"], warning["code"]
        if key in totals:
            totals[key]["count"] += warning["count"]
        elif len(totals) < MAX_REPORTED_WARNINGS:
            totals[key] = dict(warning)
    return list(totals.values())


def _sanitize_error(error: FieldError) -> FieldError:
    return FieldError(
        sanitize_text(error.field, MAX_FIELD_LENGTH), error.code, sanitize_text(error.reason, MAX_REASON_LENGTH)
    )


def import_entries(
    entries: Iterable[FileEntry],
    on_progress: Callable[[int], None] | None = None,
    dry_run: bool = False,
    most_removals_percent: int | None = None,
) -> CatalogImportReport:
    """Import entries, one transaction per batch; with `dry_run` only report what would happen."""
    report, cache, started_at, named_pks = CatalogImportReport(), writing.WriteCache(), clock.now(), array("q")
    if not dry_run:
        fulltext.start_bulk_writes()
        db.session.commit()
    for batch in iter_batches(entries):
        import_batch(batch, report, cache, dry_run, lambda _, pks: named_pks.extend(pks))
        if on_progress:
            on_progress(report.lines)
    if not dry_run:
        if most_removals_percent is not None:
            try:
                report.removed += missing.remove_missing_titles(
                    set(named_pks), report.rejected, most_removals_percent, started_at
                )
            except missing.RemovalRefused as refusal:
                report.not_removed = str(refusal)
        indexing.update_catalog_statistics()
        merge = fulltext.complete_bulk_writes(report.added + report.changed)
        db.session.commit()
        while merge:
            merge = fulltext.merge_index_step()
            db.session.commit()
    return report


BatchHook = Callable[[list[EntryRejection], Iterable[int]], None]


def import_batch(
    batch: list[FileEntry],
    report: CatalogImportReport,
    cache: writing.WriteCache,
    dry_run: bool = False,
    on_batch: BatchHook | None = None,
) -> None:
    """Import a batch in one transaction, with what `on_batch(rejections, titles' keys)` writes."""
    now = clock.now()  # before the transaction starts: a new sandbox's clock starts with a write of its own
    bulk.prepare_connection()
    entries, live_outcome = live_entries.write_live_entries(_complete_records(batch), now, dry_run)
    entries = _reject_conflicts(entries)
    rejections = [rejection for entry in entries if entry.errors for rejection in report.add_rejections(entry)]
    for entry in entries:
        report.add_warnings(entry)
    records = [entry.record for entry in entries if entry.record]
    if people := [entry.person for entry in entries if entry.person]:
        report.add_outcome(write_people(people, now, cache.people))
    outcome, pks = writing.write_titles(records, now, cache) if records else (Counter(), {})
    report.add_outcome(outcome + live_outcome)
    report.shared_media_folders += media_files.count_shared_folders([pks[record.external_id] for record in records])
    imported_collections.add_titles_to_collections(
        [(name, pks[entry.record.external_id]) for entry in entries if entry.record for name in entry.collections]
    )
    report.lines = batch[-1].overall_line
    if dry_run:
        db.session.rollback()
        cache.clear()
    if on_batch:
        on_batch(rejections, () if dry_run else pks.values())
    db.session.commit()


def _complete_records(batch: list[FileEntry]) -> list[FileEntry]:
    """Return the batch with complete records: partial ones are merged into the stored records, under the lock."""
    names = {entry.external_id for entry in batch if entry.part is not None and entry.external_id is not None}
    if names:
        writing.lock_catalog()
    storable_names = sorted(filter(is_storable, names))
    stored = {
        row.external_id: row.body for row in bulk.select_rows_in(STORED_RECORDS, Title.external_id, storable_names)
    }
    return [_complete_record(entry, stored) if entry.part is not None else entry for entry in batch]


def _complete_record(entry: FileEntry, stored: dict[str, str]) -> FileEntry:
    body = stored.get(entry.external_id or "")
    try:
        record = (entry.defaults or {}) | (msgspec.json.decode(body) if body else {})
        return entry._replace(record=convert_record(merge_partial_record(record, entry.part or {}), from_text=True))
    except InvalidRecord as invalid:
        return entry._replace(errors=(*entry.errors, *invalid.errors))
    except (AttributeError, KeyError, TypeError) as error:  # of the part, since stored records are valid
        return entry._replace(errors=(*entry.errors, FieldError("", "malformed", f"It cannot be merged: {error!r}.")))


def _reject_conflicts(entries: list[FileEntry]) -> list[FileEntry]:
    """Return the entries; those of which an extra and another title name the same file have errors for a record."""
    if not any(entry.record for entry in entries):
        return entries
    writing.lock_catalog()
    conflicts = media_conflicts.find_title_conflicts([entry.record for entry in entries if entry.record])
    return [
        entry._replace(record=None, external_id=record.external_id, errors=(*entry.errors, *errors))
        if (record := entry.record) and (errors := conflicts.get(record.external_id))
        else entry
        for entry in entries
    ]


def iter_batches(entries: Iterable[FileEntry]) -> Iterator[list[FileEntry]]:
    """Yield entries in batches with at most one entry per title or person, so that a later line overrides an earlier.

    A channel's guide is a batch of its own: a transaction of its own, and no more in memory.

    The size of a batch depends on how long the previous one took.
    """
    batch: list[FileEntry] = []
    names: set[tuple[bool, str]] = set()
    size = INITIAL_BATCH_SIZE
    for entry in entries:
        record = entry.record or entry.person
        external_id = record.external_id if record else entry.external_id
        name = (entry.person is not None, external_id) if external_id else None
        is_guide = bool(batch) and (entry.guide is not None or batch[-1].guide is not None)
        if len(batch) >= size or name in names or is_guide:
            started_at = clock.wall_time()
            yield batch
            size = next_batch_size(len(batch), (clock.wall_time() - started_at).total_seconds())
            batch, names = [], set()
        batch.append(entry)
        if name:
            names.add(name)
    if batch:
        yield batch


def next_batch_size(done: int, took_s: float) -> int:
    """Return how many titles fill the intended duration if `done` took `took_s`; at most twice as many as before."""
    size = round(done * min(TARGET_TRANSACTION_S / max(took_s, 0.001), 2))
    return max(MIN_BATCH_SIZE, min(size, MAX_BATCH_SIZE))
