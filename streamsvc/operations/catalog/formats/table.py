"""CSV with a header row, as spreadsheets and other services write it.

Encoding, delimiter, the meaning of columns, units and list separators are detected from the first rows; what was
guessed is reported as a warning, and so is a column that means nothing. An empty cell leaves the stored value
unchanged. Cells that look like formulas are plain text.
"""

import csv
from collections.abc import Iterator
from typing import BinaryIO, Self

from streamsvc.operations.catalog.formats import (
    FileEntry,
    FileWarning,
    ReadOptions,
    decode_line,
    iter_lines,
    rejected_entry,
)
from streamsvc.operations.catalog.formats.columns import find_columns
from streamsvc.operations.catalog.formats.encodings import DetectedEncoding, detect_encoding, open_as_utf_8
from streamsvc.operations.catalog.formats.rows import RowReader
from streamsvc.rules.catalog.record import MAX_LINE_BYTES
from streamsvc.rules.catalog.text import fold_text

DELIMITERS = (",", ";", "\t", "|")
MAX_COLUMNS = 1_000
SAMPLED_ROWS = 200
MAX_SAMPLED_BYTES = 1 << 20
MAX_UNKNOWN_COLUMNS = 50
"""Unknown columns that are named one by one."""
SEPARATOR_LINE = "sep="
"""Begins a line by which Excel names the delimiter."""


def read_csv(file: BinaryIO, after: int = 0, options: ReadOptions | None = None) -> Iterator[FileEntry]:
    """Yield the entries of a CSV file; an entry's line is the last line of its row."""
    options = options or ReadOptions()
    encoding = DetectedEncoding(options.encoding) if options.encoding else detect_encoding(file)
    sample, delimiter = sample_rows(file, encoding.name, options)
    file.seek(0)
    source = _CsvLines(iter_lines(open_as_utf_8(file, encoding.name)))
    rows = csv.reader(source, strict=True, delimiter=delimiter)
    try:
        header = next(rows, [])
        if _is_separator_line(header, delimiter):
            header = next(rows, [])
    except csv.Error as error:
        yield rejected_entry(1, "malformed", f"The header cannot be read: {error}.")
        return
    if len(header) > MAX_COLUMNS:
        yield rejected_entry(source.number, "too_long", f"A table must have at most {MAX_COLUMNS} columns.")
        return
    columns, unknown = find_columns(header, options.columns)
    if not {"title", "external_id"} & {column.target for column in columns if not column.member}:
        yield rejected_entry(source.number or 1, "missing", _describe_header(header, delimiter))
        return
    reader = RowReader(columns, [row for row in sample if len(row) == len(header)], options.media_base_url)
    if after < source.number:
        yield FileEntry(
            source.number,
            warnings=(
                *encoding.warnings,
                *_missing_columns(header, options),
                *_unknown_columns(unknown),
                *reader.warnings,
            ),
        )
    yield from _read_rows(source, rows, after, len(header), reader)


def _read_rows(
    source: "_CsvLines", rows: Iterator[list[str]], after: int, width: int, reader: RowReader
) -> Iterator[FileEntry]:
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
            yield _entry(source.number, cells, width, reader)


def _entry(line: int, cells: list[str], width: int, reader: RowReader) -> FileEntry:
    if len(cells) > width and not any(cells[width:]):  # spreadsheets end short rows with empty cells
        cells = cells[:width]
    if len(cells) != width:
        return rejected_entry(line, "malformed", f"The row has {len(cells)} cells under {width} columns.")
    return reader.entry(line, cells)


def sample_rows(file: BinaryIO, encoding: str, options: ReadOptions) -> tuple[list[list[str]], str]:
    """Return the first rows without their header, and the delimiter under which they make the best table."""
    file.seek(0)
    size = 0
    lines: list[str] = []
    for line in iter_lines(open_as_utf_8(file, encoding)):
        size += len(line or b"")
        if len(lines) > SAMPLED_ROWS or size > MAX_SAMPLED_BYTES:
            break
        lines.append(decode_line(line or b""))
    if lines and lines[0].lower().startswith(SEPARATOR_LINE) and lines[0].strip()[4:] in DELIMITERS:
        delimiter = lines.pop(0).strip()[4:]
        return _parse_rows(lines, delimiter)[1:], delimiter
    tables = {delimiter: _parse_rows(lines, delimiter) for delimiter in DELIMITERS}
    best = max(DELIMITERS, key=lambda delimiter: _score(tables[delimiter], options))
    return tables[best][1:], best


def _score(rows: list[list[str]], options: ReadOptions) -> tuple[int, float, int]:
    """Rate a table: by its known columns, by how many rows are as wide as the header, by its width."""
    if not rows or len(rows[0]) < 2:
        return len(find_columns(rows[0], options.columns)[0]) if rows else 0, 0.0, 0
    same_width = sum(len(row) == len(rows[0]) for row in rows) / len(rows)
    return len(find_columns(rows[0][:MAX_COLUMNS], options.columns)[0]), same_width, len(rows[0])


def _parse_rows(lines: list[str], delimiter: str) -> list[list[str]]:
    rows, reader = [], csv.reader(lines, delimiter=delimiter)
    while True:
        try:
            rows.append(next(reader))
        except StopIteration:
            return rows
        except csv.Error:
            continue


def _is_separator_line(header: list[str], delimiter: str) -> bool:
    return delimiter.join(header).lower().startswith(SEPARATOR_LINE) and len(header) <= 2


def _describe_header(header: list[str], delimiter: str) -> str:
    names = ", ".join(header[:20]) or "none"
    return f"No column is known as a title or an external_id. Columns, delimited by {delimiter!r}: {names}. Map them."


def _missing_columns(header: list[str], options: ReadOptions) -> list[FileWarning]:
    names = {fold_text(name) for name in header}
    reason = "The file has no such column, so its mapping has no effect."
    return [FileWarning(name, "missing_column", reason) for name in options.columns if fold_text(name) not in names]


def _unknown_columns(names: list[str]) -> list[FileWarning]:
    known = [
        FileWarning(name, "unknown_column", "The column was ignored; map it to a field, or to `ignore`.")
        for name in names[:MAX_UNKNOWN_COLUMNS]
    ]
    if len(names) > MAX_UNKNOWN_COLUMNS:
        known.append(FileWarning("", "unknown_column", f"{len(names) - MAX_UNKNOWN_COLUMNS} more were ignored."))
    return known


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
