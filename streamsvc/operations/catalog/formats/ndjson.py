"""The catalogue file: NDJSON, one record per line, or a JSON array of records."""

import json
import re
from collections.abc import Iterator
from typing import BinaryIO

from streamsvc.operations.catalog.formats import (
    FileEntry,
    channel_entry,
    iter_lines,
    overlong_line_entry,
    rejected_entry,
)
from streamsvc.operations.catalog.formats.values import iter_array, starts_with_array
from streamsvc.rules.catalog.channels import decode_channel_members, is_channel_line
from streamsvc.rules.catalog.record import InvalidRecord, decode_record

_EXTERNAL_ID = re.compile(rb'"external_id"\s*:\s*"([^"\\]{1,200})"')


def read_ndjson(file: BinaryIO, after: int = 0) -> Iterator[FileEntry]:
    """Yield the entries of a catalogue file; empty lines are skipped, and an overlong line is never held in memory.

    The "line" of a record in an array is its number, from one.
    """
    if starts_with_array(file):
        yield from _read_array(file, after)
        return
    for number, line in enumerate(iter_lines(file), 1):
        if number <= after:
            continue
        if line is None:
            yield overlong_line_entry(number)
        elif line.strip():
            yield _entry(number, line)


def _read_array(file: BinaryIO, after: int) -> Iterator[FileEntry]:
    number = 0
    try:
        for number, value in enumerate(iter_array(file), 1):
            if number > after:
                yield _entry(number, json.dumps(value).encode())
    except (ValueError, RecursionError) as error:
        if number + 1 > after:
            reason = f"The file is not a JSON array from here on: {error}."
            yield rejected_entry(number + 1, "malformed", reason)


def _entry(number: int, line: bytes) -> FileEntry:
    try:
        if is_channel_line(line):
            return channel_entry(number, decode_channel_members(line))
        return FileEntry(number, decode_record(line))
    except InvalidRecord as invalid:
        return FileEntry(number, external_id=_external_id_in(line), errors=invalid.errors)


def _external_id_in(line: bytes) -> str | None:
    """Return the external id that can be read from a rejected line, or None."""
    match = _EXTERNAL_ID.search(line)
    return match and match[1].decode(errors="replace")
