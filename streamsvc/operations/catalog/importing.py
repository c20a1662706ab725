"""A file of titles, entry by entry: what is good lands, what is not is told with its line, field, code and reason."""

import gzip
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec
import sqlalchemy as sa

from streamsvc import clock
from streamsvc.database import db
from streamsvc.models import Title, TitleRecord
from streamsvc.operations.catalog import bulk, indexing, writing
from streamsvc.operations.catalog.formats import Entry, imdb, ndjson, roku, table
from streamsvc.rules.catalog.record import Flaw, Flawed, converted

READERS = {"ndjson": ndjson.read, "csv": table.read, "imdb": imdb.read, "roku": roku.read}
BATCH = 250
"""Titles in one transaction: other writers wait no longer than it takes (about 0.2 s)."""
MOST_TOLD = 1_000
KNOWN = sa.select(Title.external_id, TitleRecord.body).join(TitleRecord, TitleRecord.title_pk == Title.pk)


class Rejection(NamedTuple):
    line: int
    external_id: str | None
    flaw: Flaw


@dataclass
class Report:
    """What became of a file. `rejections` holds the first thousand; `rejected` counts all rejected entries."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    rejected: int = 0
    removed: int = 0
    lines: int = 0
    rejections: list[Rejection] = field(default_factory=list)

    def count(self, outcome: Counter) -> None:
        for name, number in outcome.items():
            setattr(self, name, getattr(self, name) + number)

    def reject(self, entry: Entry) -> list[Rejection]:
        told = [Rejection(entry.line, entry.external_id, flaw) for flaw in entry.flaws]
        self.rejected += 1
        self.rejections += told[: max(0, MOST_TOLD - len(self.rejections))]
        return told


def import_file(
    path: Path | str,
    on_progress: Callable[[int], None] | None = None,
    dry_run: bool = False,
    form: str = "ndjson",
) -> Report:
    """Import a file, plain or gzip. `on_progress` hears how many lines are done, batch by batch."""
    with opened(path) as file:
        return import_entries(READERS[form](file), on_progress, dry_run)


def opened(path: Path | str) -> BinaryIO:
    with Path(path).open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if packed else Path(path).open("rb")


def import_entries(
    entries: Iterable[Entry], on_progress: Callable[[int], None] | None = None, dry_run: bool = False
) -> Report:
    """Put the entries into the catalogue, a batch to a transaction; with `dry_run` only tell what would happen."""
    report, memory = Report(), writing.Memory()
    for batch in batches(entries):
        import_batch(batch, report, memory, dry_run)
        if on_progress:
            on_progress(report.lines)
    if not dry_run:
        indexing.survey()
        db.session.commit()
    return report


Also = Callable[[list[Rejection], Iterable[int]], None]


def import_batch(batch: list[Entry], report: Report, memory: writing.Memory, dry_run=False, also: Also | None = None):
    """One transaction: the good entries of a batch, and what `also(rejections, titles' keys)` writes with them."""
    now = clock.now()  # before the unit of work begins: a new sandbox's clock starts by a write of its own
    bulk.make_room()
    whole = _completed(batch)
    told = [rejection for entry in whole if entry.flaws for rejection in report.reject(entry)]
    records = [entry.record for entry in whole if entry.record]
    outcome, pks = writing.write(records, now, memory) if records else (Counter(), {})
    report.count(outcome)
    report.lines = batch[-1].line
    if dry_run:
        db.session.rollback()
        memory.forget()
    if also:
        also(told, () if dry_run else pks.values())
    db.session.commit()


def _completed(batch: list[Entry]) -> list[Entry]:
    """The batch with whole records: a part is laid over what is known of its title."""
    names = {entry.external_id for entry in batch if entry.part is not None}
    known = {row.external_id: row.body for row in bulk.rows_by(KNOWN, Title.external_id, names - {None})}
    return [_whole(entry, known) if entry.part is not None else entry for entry in batch]


def _whole(entry, known):
    body = known.get(entry.external_id)
    try:
        base = msgspec.json.decode(body) if body else {}
        return entry._replace(record=converted(base | entry.part, from_text=True))
    except Flawed as flawed:
        return entry._replace(flaws=flawed.flaws)


def batches(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Entries by the batch; of one title there is one entry in a batch, so that the later line has the last word."""
    batch: list[Entry] = []
    names: set[str] = set()
    for entry in entries:
        name = entry.record.external_id if entry.record else entry.external_id
        if len(batch) == BATCH or name in names:
            yield batch
            batch, names = [], set()
        batch.append(entry)
        if name:
            names.add(name)
    if batch:
        yield batch
