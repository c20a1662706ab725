"""CSV with a header row.

Lists are separated by `|`; `director`, `writer`, `actor`, `poster` and `hls` are separate columns. An empty cell leaves
the stored value unchanged. Cells that look like formulas are plain text.
"""

import csv
from collections.abc import Iterator
from typing import Any, BinaryIO, Self

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
LIST_COLUMNS = ("age_ratings", "genres", "languages", "countries", "plans")
CREDIT_COLUMNS = ("director", "writer", "actor")
OTHER_COLUMNS = ("poster", "hls")
CSV_COLUMNS = (*TEXT_COLUMNS, *LIST_COLUMNS, *CREDIT_COLUMNS, *OTHER_COLUMNS)


def read_csv(file: BinaryIO, after: int = 0) -> Iterator[FileEntry]:
    """Yield the entries of a CSV file; an entry's line is the last line of its row."""
    source = _CsvLines(iter_lines(file))
    rows = csv.reader(source, strict=True)
    try:
        header = [name.strip().lower() for name in next(rows, [])]
    except csv.Error as error:
        yield rejected_entry(1, "malformed", f"The header cannot be read: {error}.")
        return
    if unknown := [name for name in header if name not in CSV_COLUMNS]:
        yield rejected_entry(
            1, "unknown_field", f"Unknown column {unknown[0]!r}; the columns are {', '.join(CSV_COLUMNS)}."
        )
        return
    while True:
        first, csv_error = source.number + 1, None
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            csv_error = error
        if source.number <= after:
            continue
        if csv_error:
            yield rejected_entry(
                source.number, "malformed", f"The row that starts at line {first} cannot be read: {csv_error}."
            )
        elif any(cells):
            yield _entry(source.number, header, cells)


class _CsvLines:
    """Counts lines for the csv module, and continues after an error, which would end a generator."""

    def __init__(self, lines: Iterator[bytes | None]) -> None:
        self.lines, self.number = lines, 0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        line = next(self.lines)
        self.number += 1
        if line is None:
            raise csv.Error(f"a line must have at most {MAX_LINE_BYTES} bytes")
        return decode_line(line)


def _entry(line: int, header: list[str], cells: list[str]) -> FileEntry:
    if len(cells) != len(header):
        return rejected_entry(line, "malformed", f"The row has {len(cells)} cells under {len(header)} columns.")
    values = {name: cell.strip() for name, cell in zip(header, cells, strict=True) if cell.strip()}
    part: dict[str, Any] = {name: values[name] for name in TEXT_COLUMNS if name in values}
    part |= {name: _split_list(values[name]) for name in LIST_COLUMNS if name in values}
    if any(name in values for name in CREDIT_COLUMNS):
        part["credits"] = [
            {"name": value, "role": role} for role in CREDIT_COLUMNS for value in _split_list(values.get(role, ""))
        ]
    if "poster" in values:
        part["artwork"] = [{"role": "poster", "url": values["poster"]}]
    if "hls" in values:
        part["media"] = {"hls": values["hls"]}
    return FileEntry(line, part=part, external_id=values.get("external_id"))


def _split_list(cell: str) -> list[str]:
    return [item.strip() for item in cell.split("|") if item.strip()]
