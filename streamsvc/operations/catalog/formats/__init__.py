"""Files of titles, read a piece at a time: each format gives entries, one for a line, a row or an asset."""

import io
from typing import Any, BinaryIO, NamedTuple

from streamsvc.rules.catalog.record import Flaw, Title


class Entry(NamedTuple):
    """One title of a file.

    `record` is the whole of it. Formats that cannot say everything (no windows, no plans) give `part` instead: what
    they do not name stays as it is known. `flaws` tell why there is neither.
    """

    line: int
    record: Title | None = None
    part: dict[str, Any] | None = None
    external_id: str | None = None
    flaws: tuple[Flaw, ...] = ()


def text_lines(file: BinaryIO) -> io.TextIOWrapper:
    """The file as UTF-8; bytes that are none pass as lone surrogates, so that only their own line is refused."""
    return io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")


def refused(line: int, code: str, reason: str, field: str = "", external_id: str | None = None) -> Entry:
    return Entry(line, external_id=external_id, flaws=(Flaw(field, code, reason),))
