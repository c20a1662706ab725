"""The catalogue file: NDJSON, one record per line: a title's, or a person's with `"kind": "person"`."""

import re
from collections.abc import Iterator
from typing import Any, BinaryIO

import msgspec

from streamsvc.operations.catalog.formats import FileEntry, channel_entry, iter_lines, overlong_line_entry
from streamsvc.rules.catalog.channels import decode_channel_members, is_channel_line
from streamsvc.rules.catalog.person import PERSON_KIND, decode_person
from streamsvc.rules.catalog.record import InvalidRecord, decode_record

_EXTERNAL_ID = re.compile(rb'"external_id"\s*:\s*"([^"\\]{1,200})"')


def read_ndjson(file: BinaryIO, after: int = 0) -> Iterator[FileEntry]:
    """Yield the entries of a catalogue file; empty lines are skipped, and an overlong line is never held in memory."""
    for number, line in enumerate(iter_lines(file), 1):
        if number <= after:
            continue
        if line is None:
            yield overlong_line_entry(number)
        elif line.strip():
            yield _entry(number, line)


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
