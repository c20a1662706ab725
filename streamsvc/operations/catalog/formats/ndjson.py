"""The catalogue file: one record a line."""

import re
from collections.abc import Iterator
from typing import BinaryIO

from streamsvc.operations.catalog.formats import Entry, refused
from streamsvc.rules.catalog.record import LONGEST_LINE_BYTES, Flawed, decoded

_NAME = re.compile(rb'"external_id"\s*:\s*"([^"\\]{1,200})"')


def read(file: BinaryIO) -> Iterator[Entry]:
    """Empty lines are passed over; a line too long is told, not held in memory."""
    for number, line in enumerate(lines(file), 1):
        if line is None:
            yield refused(number, "too_long", f"A line has at most {LONGEST_LINE_BYTES} bytes.")
        elif line.strip():
            yield _entry(number, line)


def _entry(number, line):
    try:
        return Entry(number, decoded(line))
    except Flawed as flawed:
        return Entry(number, external_id=_name_in(line), flaws=flawed.flaws)


def lines(file: BinaryIO) -> Iterator[bytes | None]:
    """Lines of a file; None for one that is too long. A byte order mark at the start is dropped."""
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
