"""Files of titles, read a piece at a time: each format gives entries, one for a line, a row or an asset.

`read(file, after)` gives those behind line `after`, where an interrupted import goes on; what lies before is passed
over unread, as far as the format allows.
"""

from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

from streamsvc.rules.catalog.record import LONGEST_LINE_BYTES, Flaw, Title

BOM = b"\xef\xbb\xbf"
OTHER_MARKS = (b"\xff\xfe", b"\xfe\xff")
GZIP = b"\x1f\x8b"
"""How a file begins that is packed with gzip."""
MOST_LINES = 20_000_000


class TooLarge(Exception):
    """The file is larger than a file may be: more lines, or more bytes once it is unpacked."""


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
    before: int = 0
    """Where files come together: how many lines of others come before those of this one."""

    @property
    def place(self) -> int:
        """How many lines of all files are done with it."""
        return self.before + self.line


def lines(file: BinaryIO, most: int | None = None) -> Iterator[bytes | None]:
    """The lines of a file; None for one that is too long, of which no more than a line's length is ever held.

    A byte order mark at the start is dropped. Raises TooLarge behind `most` lines.
    """
    most = most or MOST_LINES
    for number in range(most):
        line = file.readline(LONGEST_LINE_BYTES + 1)
        if not line:
            return
        if len(line) > LONGEST_LINE_BYTES and not line.endswith(b"\n"):
            while (rest := file.readline(LONGEST_LINE_BYTES)) and not rest.endswith(b"\n"):
                pass
            yield None
        else:
            yield line if number else line.removeprefix(BOM)
    raise TooLarge(f"It has more than {most} lines.")


def text(line: bytes) -> str:
    """The line as UTF-8; bytes that are none pass as lone surrogates, so that only their own record is refused."""
    return line.decode(errors="surrogateescape")


def in_another_encoding(head: bytes) -> bool:
    """Whether a file that begins so is in UTF-16 or UTF-32: every format here begins with two characters of ASCII."""
    return head.startswith(OTHER_MARKS) or b"\0" in head[:2]


def refused(line: int, code: str, reason: str, field: str = "", external_id: str | None = None) -> Entry:
    return Entry(line, external_id=external_id, flaws=(Flaw(field, code, reason),))


def too_long(line: int) -> Entry:
    return refused(line, "too_long", f"A line has at most {LONGEST_LINE_BYTES} bytes.")
