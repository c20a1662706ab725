"""A file of titles, line by line: what is good lands, what is not is told with its line, field, code and reason."""

import gzip
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

from streamsvc import clock
from streamsvc.database import db
from streamsvc.operations.catalog import writing
from streamsvc.rules.catalog.record import LONGEST_LINE_BYTES, Flaw, Flawed, Title, decoded

BATCH = 250
"""Titles in one transaction: other writers wait no longer than it takes (about 0.1 s)."""
MOST_TOLD = 1_000
_NAME = re.compile(rb'"external_id"\s*:\s*"([^"\\]{1,200})"')


class Rejection(NamedTuple):
    line: int
    external_id: str | None
    flaw: Flaw


class Entry(NamedTuple):
    """A line of a file: the record in it, or why it has none."""

    line: int
    record: Title | None = None
    external_id: str | None = None
    flaws: tuple[Flaw, ...] = ()


@dataclass
class Report:
    """What became of a file. `rejections` holds the first thousand; `rejected` counts all rejected lines."""

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


def import_file(path: Path | str, on_progress: Callable[[int], None] | None = None, dry_run: bool = False) -> Report:
    """Import an NDJSON file, plain or gzip. `on_progress` hears how many lines are done, batch by batch."""
    with opened(path) as file:
        return import_entries(ndjson(file), on_progress, dry_run)


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
    return report


def import_batch(batch: list[Entry], report: Report, memory: writing.Memory, dry_run: bool = False, also=None) -> None:
    """One transaction: the good entries of a batch, and whatever `also(rejections, pks)` writes with them."""
    told = [rejection for entry in batch if entry.flaws for rejection in report.reject(entry)]
    records = [entry.record for entry in batch if entry.record]
    outcome, pks = writing.write(records, clock.now(), memory) if records else (Counter(), {})
    report.count(outcome)
    report.lines = batch[-1].line
    if dry_run:
        db.session.rollback()
        memory.__init__()
        pks = {}
    if also:
        also(told, pks)
    db.session.commit()


def batches(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Entries by the batch; of one title there is one entry in a batch, so that the later line has the last word."""
    batch: list[Entry] = []
    names: set[str] = set()
    for entry in entries:
        name = entry.record.external_id if entry.record else None
        if len(batch) == BATCH or name in names:
            yield batch
            batch, names = [], set()
        batch.append(entry)
        if name:
            names.add(name)
    if batch:
        yield batch


def ndjson(file: BinaryIO) -> Iterator[Entry]:
    """The entries of an NDJSON file; empty lines are passed over. A line too long is told, not held in memory."""
    for number, line in enumerate(lines(file), 1):
        if line is None:
            yield Entry(number, flaws=(Flaw("", "too_long", f"A line has at most {LONGEST_LINE_BYTES} bytes."),))
        elif line.strip():
            yield entry(number, line)


def entry(number: int, line: bytes) -> Entry:
    try:
        return Entry(number, decoded(line))
    except Flawed as flawed:
        return Entry(number, external_id=_name_in(line), flaws=flawed.flaws)


def lines(file: BinaryIO) -> Iterator[bytes | None]:
    """Lines without their ends; None for one that is too long. A byte order mark at the start is dropped."""
    first = True
    while line := file.readline(LONGEST_LINE_BYTES + 1):
        if len(line) > LONGEST_LINE_BYTES and not line.endswith(b"\n"):
            while (rest := file.readline(LONGEST_LINE_BYTES)) and not rest.endswith(b"\n"):
                pass
            yield None
        else:
            yield line.removeprefix(b"\xef\xbb\xbf") if first else line
        first = False


def _name_in(line):
    """The external id that a rejected line still tells."""
    found = _NAME.search(line)
    return found and found[1].decode(errors="replace")
