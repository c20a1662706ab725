"""The catalogue file: one record a line."""

import re
from collections.abc import Iterator
from typing import BinaryIO

from streamsvc.operations.catalog.formats import FileEntry, iter_lines, overlong_line_entry
from streamsvc.rules.catalog.record import InvalidRecord, decode_record

_EXTERNAL_ID = re.compile(rb'"external_id"\s*:\s*"([^"\\]{1,200})"')


def read_ndjson(file: BinaryIO, after: int = 0) -> Iterator[FileEntry]:
    """Empty lines are passed over; a line too long is told, not held in memory."""
    for number, line in enumerate(iter_lines(file), 1):
        if number <= after:
            continue
        if line is None:
            yield overlong_line_entry(number)
        elif line.strip():
            yield _entry(number, line)


def _entry(number, line):
    try:
        return FileEntry(number, decode_record(line))
    except InvalidRecord as flawed:
        return FileEntry(number, external_id=_external_id_in(line), errors=flawed.errors)


def _external_id_in(line):
    """The external id that a rejected line still tells."""
    found = _EXTERNAL_ID.search(line)
    return found and found[1].decode(errors="replace")
