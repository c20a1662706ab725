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
from streamsvc.operations.catalog.formats import GZIP, Entry, imdb, in_another_encoding, ndjson, refused, roku, table
from streamsvc.operations.catalog.imports import missing
from streamsvc.operations.catalog.titles import bulk, fulltext, indexing, writing
from streamsvc.rules.catalog.parts import laid_over
from streamsvc.rules.catalog.record import Flaw, Flawed, converted
from streamsvc.storage.database import db

READERS = {"ndjson": ndjson.read, "csv": table.read, "imdb": imdb.read, "roku": roku.read}
FIRST_BATCH, SMALLEST_BATCH, LARGEST_BATCH = 250, 50, 1_000
"""Titles in one transaction: the more, the less each costs."""
TURN_S = 0.6
"""What a transaction should take, in seconds: other writers wait as long."""
MOST_TOLD = 1_000
LONGEST_ID, LONGEST_FIELD, LONGEST_REASON = 200, 200, 500
KNOWN = sa.select(Title.external_id, TitleRecord.body).join(TitleRecord, TitleRecord.title_pk == Title.pk)


class Rejection(NamedTuple):
    line: int
    external_id: str | None
    flaw: Flaw
    before: int = 0
    """Lines of other files that come before those of this one."""


@dataclass
class Report:
    """What became of a file. `rejections` holds the first thousand; `rejected` counts all rejected entries."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    rejected: int = 0
    removed: int = 0
    lines: int = 0
    not_removed: str | None = None
    """Why titles that the file does not name were left, where they should have been taken out."""
    rejections: list[Rejection] = field(default_factory=list)

    def count(self, outcome: Counter) -> None:
        for name, number in outcome.items():
            setattr(self, name, getattr(self, name) + number)

    def reject(self, entry: Entry) -> list[Rejection]:
        name = entry.external_id and tellable(entry.external_id, LONGEST_ID)
        told = [Rejection(entry.line, name, _tellable(flaw), entry.before) for flaw in entry.flaws]
        self.rejected += 1
        self.rejections += told[: max(0, MOST_TOLD - len(self.rejections))]
        return told


def tellable(text: str, most: int) -> str:
    """What a broken file said, as text that can be kept and shown: well-formed, without NUL, not endless."""
    return text.encode(errors="replace").decode().replace("\0", "\ufffd")[:most]


def _tellable(flaw):
    return Flaw(tellable(flaw.field, LONGEST_FIELD), flaw.code, tellable(flaw.reason, LONGEST_REASON))


def import_file(
    path: Path | str,
    on_progress: Callable[[int], None] | None = None,
    dry_run: bool = False,
    form: str = "ndjson",
    most_removals_percent: int | None = None,
    others: Sequence[Path | str] = (),
) -> Report:
    """Import a file, plain or gzip. `on_progress` hears how many lines are done, batch by batch.

    Where `most_removals_percent` is given, titles that the file does not name are taken out, unless they are more.
    `others` are what IMDb tells in other files. Raises OSError, EOFError or zlib.error for one that cannot be unpacked.
    """
    with ExitStack() as stack:
        file, *beside = [stack.enter_context(opened(one)) for one in (path, *others)]
        return import_entries(entries(form, file, others=beside), on_progress, dry_run, most_removals_percent)


def entries(
    form: str, file: BinaryIO, after: int = 0, others: Sequence[BinaryIO] = (), most_together: int = sys.maxsize
) -> Iterator[Entry]:
    """The entries of a file behind line `after`, the lines of `others` coming first; with them `most_together`.

    One in another encoding than UTF-8 is refused as a whole.
    """
    if any(in_another_encoding(one.peek(2)[:2]) for one in (file, *others)):
        return iter([] if after else [refused(1, "unknown_encoding", "The file is not in UTF-8 but in UTF-16 or -32.")])
    return imdb.read(file, after, others, most_together) if others else READERS[form](file, after)


def opened(path: Path | str) -> BinaryIO:
    with Path(path).open("rb") as file:
        packed = file.read(2) == GZIP
    return gzip.open(path, "rb") if packed else Path(path).open("rb")


def import_entries(
    entries: Iterable[Entry],
    on_progress: Callable[[int], None] | None = None,
    dry_run: bool = False,
    most_removals_percent: int | None = None,
) -> Report:
    """Put the entries into the catalogue, a batch to a transaction; with `dry_run` only tell what would happen."""
    report, memory, began, named = Report(), writing.Memory(), clock.now(), array("q")
    if not dry_run:
        fulltext.expect_many()
        db.session.commit()
    for batch in batches(entries):
        import_batch(batch, report, memory, dry_run, lambda _, pks: named.extend(pks))
        if on_progress:
            on_progress(report.lines)
    if not dry_run:
        if most_removals_percent is not None:
            try:
                report.removed = missing.take_out(set(named), report.rejected, most_removals_percent, began)
            except missing.NotRemoved as why:
                report.not_removed = str(why)
        indexing.survey()
        merge = fulltext.settle(report.added + report.changed)
        db.session.commit()
        while merge:
            merge = fulltext.merge_some()
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
    report.lines = batch[-1].place
    if dry_run:
        db.session.rollback()
        memory.forget()
    if also:
        also(told, () if dry_run else pks.values())
    db.session.commit()


def _completed(batch: list[Entry]) -> list[Entry]:
    """The batch with whole records: a part is laid over what is known of its title, which nobody else changes then."""
    names = {entry.external_id for entry in batch if entry.part is not None} - {None}
    if names:
        writing.begin()
    askable = sorted(name for name in names if name == tellable(name, LONGEST_ID))
    known = {row.external_id: row.body for row in bulk.rows_by(KNOWN, Title.external_id, askable)}
    return [_whole(entry, known) if entry.part is not None else entry for entry in batch]


def _whole(entry, known):
    body = known.get(entry.external_id)
    try:
        base = msgspec.json.decode(body) if body else {}
        return entry._replace(record=converted(laid_over(base, entry.part), from_text=True))
    except Flawed as flawed:
        return entry._replace(flaws=flawed.flaws)


def batches(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Entries by the batch; of one title there is one entry in a batch, so that the later line has the last word.

    How many there are in one follows from how long the work with the last one took.
    """
    batch: list[Entry] = []
    names: set[str] = set()
    most = FIRST_BATCH
    for entry in entries:
        name = entry.record.external_id if entry.record else entry.external_id
        if len(batch) >= most or name in names:
            began = clock.wall()
            yield batch
            most = paced(len(batch), (clock.wall() - began).total_seconds())
            batch, names = [], set()
        batch.append(entry)
        if name:
            names.add(name)
    if batch:
        yield batch


def paced(done: int, took_s: float) -> int:
    """How many titles fill a turn, where so many took so long; no more than twice as many as before."""
    fitting = round(done * min(TURN_S / max(took_s, 0.001), 2))
    return max(SMALLEST_BATCH, min(fitting, LARGEST_BATCH))
