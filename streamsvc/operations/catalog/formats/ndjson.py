"""The catalogue file: one record per line, or a JSON array of records; one of a person has `"kind": "person"`."""

import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

import msgspec

from streamsvc.operations.catalog.formats import (
    FileEntry,
    channel_entry,
    iter_lines,
    overlong_line_entry,
    rejected_entry,
)
from streamsvc.operations.catalog.formats.values import iter_array, starts_with_array
from streamsvc.rules.catalog.channels import decode_channel_members, is_channel_line
from streamsvc.rules.catalog.person import PERSON_KIND, decode_person
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
        if _is_person(line):
            return FileEntry(number, person=decode_person(line))
        return FileEntry(number, decode_record(line))
    except InvalidRecord as invalid:
        return FileEntry(number, external_id=_external_id_in(line), errors=invalid.errors)


class _Kind(msgspec.Struct):
    kind: Any = None


_kind_decoder = msgspec.json.Decoder(_Kind)


def _is_person(line: bytes) -> bool:
    try:
        return _kind_decoder.decode(line).kind == PERSON_KIND
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # reported when the line is read as a title
        return False


def _external_id_in(line: bytes) -> str | None:
    """Return the external id that can be read from a rejected line, or None."""
    match = _EXTERNAL_ID.search(line)
    return match and match[1].decode(errors="replace")
