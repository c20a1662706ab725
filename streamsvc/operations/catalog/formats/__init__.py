"""Files of titles, read a piece at a time: each format gives entries, one for a line, a row or an asset.

`read(file, after)` gives those behind line `after`, where an interrupted import goes on; what lies before is passed
over unread, as far as the format allows.
"""

from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

from streamsvc.rules.catalog.record import MAX_LINE_BYTES, CatalogRecord, FieldError

BOM = b"\xef\xbb\xbf"
UTF_16_BYTE_ORDER_MARKS = (b"\xff\xfe", b"\xfe\xff")
GZIP_SIGNATURE = b"\x1f\x8b"
"""How a file begins that is packed with gzip."""
MAX_LINES = 20_000_000


class FileTooLarge(Exception):
    """The file is larger than a file may be: more lines, or more bytes once it is unpacked."""


class FileEntry(NamedTuple):
    """One title of a file.

    `record` is the whole of it. Formats that cannot say everything (no windows, no plans) give `part` instead: what
    they do not name stays as it is known. `flaws` tell why there is neither.
    """

    line: int
    record: CatalogRecord | None = None
    part: dict[str, Any] | None = None
    external_id: str | None = None
    errors: tuple[FieldError, ...] = ()
    before: int = 0
    """Where files come together: how many lines of others come before those of this one."""

    @property
    def overall_line(self) -> int:
        """How many lines of all files are done with it."""
        return self.before + self.line


def iter_lines(file: BinaryIO, max_lines: int | None = None) -> Iterator[bytes | None]:
    """The lines of a file; None for one that is too long, of which no more than a line's length is ever held.

    A byte order mark at the start is dropped. Raises TooLarge behind `most` lines.
    """
    max_lines = max_lines or MAX_LINES
    for number in range(max_lines):
        line = file.readline(MAX_LINE_BYTES + 1)
        if not line:
            return
        if len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
            while (rest := file.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
                pass
            yield None
        else:
            yield line if number else line.removeprefix(BOM)
    raise FileTooLarge(f"It has more than {max_lines} lines.")


def decode_line(line: bytes) -> str:
    """The line as UTF-8; bytes that are none pass as lone surrogates, so that only their own record is refused."""
    return line.decode(errors="surrogateescape")


def is_utf_16_or_32(head: bytes) -> bool:
    """Whether a file that begins so is in UTF-16 or UTF-32: every format here begins with two characters of ASCII."""
    return head.startswith(UTF_16_BYTE_ORDER_MARKS) or b"\0" in head[:2]


def rejected_entry(line: int, code: str, reason: str, field: str = "", external_id: str | None = None) -> FileEntry:
    return FileEntry(line, external_id=external_id, errors=(FieldError(field, code, reason),))


def overlong_line_entry(line: int) -> FileEntry:
    return rejected_entry(line, "too_long", f"A line has at most {MAX_LINE_BYTES} bytes.")
