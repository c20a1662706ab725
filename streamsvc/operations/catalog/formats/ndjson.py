"""The catalogue file: one record a line."""

import re
from collections.abc import Iterator
from typing import BinaryIO

from streamsvc.operations.catalog.formats import Entry, lines, too_long
from streamsvc.rules.catalog.record import Flawed, decoded

_NAME = re.compile(rb'"external_id"\s*:\s*"([^"\\]{1,200})"')


def read(file: BinaryIO, after: int = 0) -> Iterator[Entry]:
    """Empty lines are passed over; a line too long is told, not held in memory."""
    for number, line in enumerate(lines(file), 1):
        if number <= after:
            continue
        if line is None:
            yield too_long(number)
        elif line.strip():
            yield _entry(number, line)


def _entry(number, line):
    try:
        return Entry(number, decoded(line))
    except Flawed as flawed:
        return Entry(number, external_id=_name_in(line), flaws=flawed.flaws)


def _name_in(line):
    """The external id that a rejected line still tells."""
    found = _NAME.search(line)
    return found and found[1].decode(errors="replace")
