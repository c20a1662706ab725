"""A file of titles, entry by entry: what is good lands, what is not is told with its line, field, code and reason."""

import gzip
import sys
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec
import sqlalchemy as sa

from streamsvc import clock
from streamsvc.models import Title, TitleRecord
from streamsvc.operations.catalog.formats import (
    GZIP_SIGNATURE,
    FileEntry,
    imdb,
    is_utf_16_or_32,
    ndjson,
    rejected_entry,
    roku,
    table,
)
from streamsvc.operations.catalog.imports import missing
from streamsvc.operations.catalog.titles import bulk, fulltext, indexing, writing
from streamsvc.rules.catalog.parts import merge_partial_record
from streamsvc.rules.catalog.record import FieldError, InvalidRecord, convert_record
from streamsvc.storage.database import db

READERS = {"ndjson": ndjson.read_ndjson, "csv": table.read_csv, "imdb": imdb.read_imdb, "roku": roku.read_roku}
INITIAL_BATCH_SIZE, MIN_BATCH_SIZE, MAX_BATCH_SIZE = 250, 50, 1_000
"""Titles in one transaction: the more, the less each costs."""
TARGET_TRANSACTION_S = 0.6
"""What a transaction should take, in seconds: other writers wait as long."""
MAX_REPORTED_REJECTIONS = 1_000
MAX_ID_LENGTH, MAX_FIELD_LENGTH, MAX_REASON_LENGTH = 200, 200, 500
STORED_RECORDS = sa.select(Title.external_id, TitleRecord.body).join(TitleRecord, TitleRecord.title_pk == Title.pk)


class EntryRejection(NamedTuple):
    line: int
    external_id: str | None
    error: FieldError
    before: int = 0
    """Lines of other files that come before those of this one."""


@dataclass
class CatalogImportReport:
    """What became of a file. `rejections` holds the first thousand; `rejected` counts all rejected entries."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    rejected: int = 0
    removed: int = 0
    lines: int = 0
    not_removed: str | None = None
    """Why titles that the file does not name were left, where they should have been taken out."""
    rejections: list[EntryRejection] = field(default_factory=list)

    def add_outcome(self, outcome: Counter) -> None:
        for name, number in outcome.items():
            setattr(self, name, getattr(self, name) + number)

    def add_rejections(self, entry: FileEntry) -> list[EntryRejection]:
        name = entry.external_id and sanitize_text(entry.external_id, MAX_ID_LENGTH)
        told = [EntryRejection(entry.line, name, _sanitize_error(flaw), entry.before) for flaw in entry.errors]
        self.rejected += 1
        self.rejections += told[: max(0, MAX_REPORTED_REJECTIONS - len(self.rejections))]
        return told


def sanitize_text(text: str, max_length: int) -> str:
    """What a broken file said, as text that can be kept and shown: well-formed, without NUL, not endless."""
    return text.encode(errors="replace").decode().replace("\0", "\ufffd")[:max_length]


def _sanitize_error(flaw):
    return FieldError(
        sanitize_text(flaw.field, MAX_FIELD_LENGTH), flaw.code, sanitize_text(flaw.reason, MAX_REASON_LENGTH)
    )


def import_file(
    path: Path | str,
    on_progress: Callable[[int], None] | None = None,
    dry_run: bool = False,
    file_format: str = "ndjson",
    most_removals_percent: int | None = None,
    others: Sequence[Path | str] = (),
) -> CatalogImportReport:
    """Import a file, plain or gzip. `on_progress` hears how many lines are done, batch by batch.

    Where `most_removals_percent` is given, titles that the file does not name are taken out, unless they are more.
    `others` are what IMDb tells in other files. Raises OSError, EOFError or zlib.error for one that cannot be unpacked.
    """
    with ExitStack() as stack:
        file, *beside = [stack.enter_context(open_file(one)) for one in (path, *others)]
        return import_entries(
            read_entries(file_format, file, others=beside), on_progress, dry_run, most_removals_percent
        )


def read_entries(
    file_format: str, file: BinaryIO, after: int = 0, others: Sequence[BinaryIO] = (), max_lines: int = sys.maxsize
) -> Iterator[FileEntry]:
    """The entries of a file behind line `after`, the lines of `others` coming first; with them `most_together`.

    One in another encoding than UTF-8 is refused as a whole.
    """
    if any(is_utf_16_or_32(one.peek(2)[:2]) for one in (file, *others)):
        return iter(
            [] if after else [rejected_entry(1, "unknown_encoding", "The file is not in UTF-8 but in UTF-16 or -32.")]
        )
    return imdb.read_imdb(file, after, others, max_lines) if others else READERS[file_format](file, after)


def open_file(path: Path | str) -> BinaryIO:
    with Path(path).open("rb") as file:
        packed = file.read(2) == GZIP_SIGNATURE
    return gzip.open(path, "rb") if packed else Path(path).open("rb")


def import_entries(
    entries: Iterable[FileEntry],
    on_progress: Callable[[int], None] | None = None,
    dry_run: bool = False,
    most_removals_percent: int | None = None,
) -> CatalogImportReport:
    """Put the entries into the catalogue, a batch to a transaction; with `dry_run` only tell what would happen."""
    report, memory, began, named = CatalogImportReport(), writing.WriteCache(), clock.now(), array("q")
    if not dry_run:
        fulltext.start_bulk_writes()
        db.session.commit()
    for batch in iter_batches(entries):
        import_batch(batch, report, memory, dry_run, lambda _, pks: named.extend(pks))
        if on_progress:
            on_progress(report.lines)
    if not dry_run:
        if most_removals_percent is not None:
            try:
                report.removed = missing.remove_missing_titles(
                    set(named), report.rejected, most_removals_percent, began
                )
            except missing.RemovalRefused as why:
                report.not_removed = str(why)
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
    dry_run=False,
    on_batch: BatchHook | None = None,
):
    """One transaction: the good entries of a batch, and what `also(rejections, titles' keys)` writes with them."""
    now = clock.now()  # before the unit of work begins: a new sandbox's clock starts by a write of its own
    bulk.prepare_connection()
    whole = _complete_records(batch)
    told = [rejection for entry in whole if entry.errors for rejection in report.add_rejections(entry)]
    records = [entry.record for entry in whole if entry.record]
    outcome, pks = writing.write_titles(records, now, cache) if records else (Counter(), {})
    report.add_outcome(outcome)
    report.lines = batch[-1].overall_line
    if dry_run:
        db.session.rollback()
        cache.clear()
    if on_batch:
        on_batch(told, () if dry_run else pks.values())
    db.session.commit()


def _complete_records(batch: list[FileEntry]) -> list[FileEntry]:
    """The batch with whole records: a part is laid over what is known of its title, which nobody else changes then."""
    names = {entry.external_id for entry in batch if entry.part is not None} - {None}
    if names:
        writing.lock_catalog()
    askable = sorted(name for name in names if name == sanitize_text(name, MAX_ID_LENGTH))
    known = {row.external_id: row.body for row in bulk.select_rows_in(STORED_RECORDS, Title.external_id, askable)}
    return [_complete_record(entry, known) if entry.part is not None else entry for entry in batch]


def _complete_record(entry, known):
    body = known.get(entry.external_id)
    try:
        base = msgspec.json.decode(body) if body else {}
        return entry._replace(record=convert_record(merge_partial_record(base, entry.part), from_text=True))
    except InvalidRecord as flawed:
        return entry._replace(errors=flawed.errors)


def iter_batches(entries: Iterable[FileEntry]) -> Iterator[list[FileEntry]]:
    """Entries by the batch; of one title there is one entry in a batch, so that the later line has the last word.

    How many there are in one follows from how long the work with the last one took.
    """
    batch: list[FileEntry] = []
    names: set[str] = set()
    most = INITIAL_BATCH_SIZE
    for entry in entries:
        name = entry.record.external_id if entry.record else entry.external_id
        if len(batch) >= most or name in names:
            began = clock.wall_time()
            yield batch
            most = next_batch_size(len(batch), (clock.wall_time() - began).total_seconds())
            batch, names = [], set()
        batch.append(entry)
        if name:
            names.add(name)
    if batch:
        yield batch


def next_batch_size(done: int, took_s: float) -> int:
    """How many titles fill a turn, where so many took so long; no more than twice as many as before."""
    fitting = round(done * min(TARGET_TRANSACTION_S / max(took_s, 0.001), 2))
    return max(MIN_BATCH_SIZE, min(fitting, MAX_BATCH_SIZE))
