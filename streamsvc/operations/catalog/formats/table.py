"""CSV with a header. Lists are parted by `|`; `director`, `writer`, `actor`, `poster` and `hls` have columns of their
own. An empty cell says nothing: what was known stays. A cell that looks like a formula is the text that it is.
"""

import csv
from collections.abc import Iterator
from typing import BinaryIO

from streamsvc.operations.catalog.formats import FileEntry, decode_line, iter_lines, rejected_entry
from streamsvc.rules.catalog.record import MAX_LINE_BYTES

TEXT_COLUMNS = (
    "external_id",
    "kind",
    "title",
    "original_title",
    "year",
    "runtime_s",
    "synopsis",
    "age_rating",
    "popularity",
)
LIST_COLUMNS = ("genres", "languages", "countries", "plans")
CREDIT_COLUMNS = ("director", "writer", "actor")
OTHER_COLUMNS = ("poster", "hls")
CSV_COLUMNS = (*TEXT_COLUMNS, *LIST_COLUMNS, *CREDIT_COLUMNS, *OTHER_COLUMNS)


def read_csv(file: BinaryIO, after: int = 0) -> Iterator[FileEntry]:
    source = _CsvLines(iter_lines(file))
    rows = csv.reader(source, strict=True)
    try:
        header = [name.strip().lower() for name in next(rows, [])]
    except csv.Error as error:
        yield rejected_entry(1, "malformed", f"The header cannot be read: {error}.")
        return
    if unknown := [name for name in header if name not in CSV_COLUMNS]:
        yield rejected_entry(
            1, "unknown_field", f"There is no column {unknown[0]!r}; there are {', '.join(CSV_COLUMNS)}."
        )
        return
    while True:
        first, broken = source.number + 1, None
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            broken = error
        if source.number <= after:
            continue
        if broken:
            yield rejected_entry(source.number, "malformed", f"The row from line {first} on cannot be read: {broken}.")
        elif any(cells):
            yield _entry(source.number, header, cells)


class _CsvLines:
    """Lines for the csv module: counted, and going on after an error, where a generator would be at its end."""

    def __init__(self, lines):
        self.lines, self.number = lines, 0

    def __iter__(self):
        return self

    def __next__(self):
        line = next(self.lines)
        self.number += 1
        if line is None:
            raise csv.Error(f"a line has at most {MAX_LINE_BYTES} bytes")
        return decode_line(line)


def _entry(line, header, cells):
    if len(cells) != len(header):
        return rejected_entry(line, "malformed", f"The row has {len(cells)} cells under {len(header)} columns.")
    given = {name: cell.strip() for name, cell in zip(header, cells, strict=True) if cell.strip()}
    part = {name: given[name] for name in TEXT_COLUMNS if name in given}
    part |= {name: _split_list(given[name]) for name in LIST_COLUMNS if name in given}
    if any(name in given for name in CREDIT_COLUMNS):
        part["credits"] = [
            {"name": one, "role": role} for role in CREDIT_COLUMNS for one in _split_list(given.get(role, ""))
        ]
    if "poster" in given:
        part["artwork"] = [{"role": "poster", "url": given["poster"]}]
    if "hls" in given:
        part["media"] = {"hls": given["hls"]}
    return FileEntry(line, part=part, external_id=given.get("external_id"))


def _split_list(cell):
    return [one.strip() for one in cell.split("|") if one.strip()]
