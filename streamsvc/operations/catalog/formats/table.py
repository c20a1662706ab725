"""CSV with a header. Lists are parted by `|`; `director`, `writer`, `actor`, `poster` and `hls` have columns of their
own. An empty cell says nothing: what was known stays. A cell that looks like a formula is the text that it is.
"""

import csv
from collections.abc import Iterator
from typing import BinaryIO

from streamsvc.operations.catalog.formats import Entry, lines, refused, text
from streamsvc.rules.catalog.record import LONGEST_LINE_BYTES

PLAIN = ("external_id", "kind", "title", "original_title", "year", "runtime_s", "synopsis", "age_rating", "popularity")
LISTS = ("genres", "languages", "countries", "plans")
PEOPLE = ("director", "writer", "actor")
OTHERS = ("poster", "hls")
COLUMNS = (*PLAIN, *LISTS, *PEOPLE, *OTHERS)


def read(file: BinaryIO, after: int = 0) -> Iterator[Entry]:
    source = _Lines(lines(file))
    rows = csv.reader(source, strict=True)
    try:
        header = [name.strip().lower() for name in next(rows, [])]
    except csv.Error as error:
        yield refused(1, "malformed", f"The header cannot be read: {error}.")
        return
    if unknown := [name for name in header if name not in COLUMNS]:
        yield refused(1, "unknown_field", f"There is no column {unknown[0]!r}; there are {', '.join(COLUMNS)}.")
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
            yield refused(source.number, "malformed", f"The row from line {first} on cannot be read: {broken}.")
        elif any(cells):
            yield _entry(source.number, header, cells)


class _Lines:
    """Lines for the csv module: counted, and going on after an error, where a generator would be at its end."""

    def __init__(self, lines):
        self.lines, self.number = lines, 0

    def __iter__(self):
        return self

    def __next__(self):
        line = next(self.lines)
        self.number += 1
        if line is None:
            raise csv.Error(f"a line has at most {LONGEST_LINE_BYTES} bytes")
        return text(line)


def _entry(line, header, cells):
    if len(cells) != len(header):
        return refused(line, "malformed", f"The row has {len(cells)} cells under {len(header)} columns.")
    given = {name: cell.strip() for name, cell in zip(header, cells, strict=True) if cell.strip()}
    part = {name: given[name] for name in PLAIN if name in given}
    part |= {name: _parted(given[name]) for name in LISTS if name in given}
    if any(name in given for name in PEOPLE):
        part["credits"] = [{"name": one, "role": role} for role in PEOPLE for one in _parted(given.get(role, ""))]
    if "poster" in given:
        part["artwork"] = [{"role": "poster", "url": given["poster"]}]
    if "hls" in given:
        part["media"] = {"hls": given["hls"]}
    return Entry(line, part=part, external_id=given.get("external_id"))


def _parted(cell):
    return [one.strip() for one in cell.split("|") if one.strip()]
