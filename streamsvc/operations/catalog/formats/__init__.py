"""File formats of titles, read incrementally: each format yields entries, one per line, row or asset.

`read_x(file, after)` yields the entries after line `after`, so that an interrupted import can resume; earlier lines
are skipped without being parsed, as far as the format allows.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, BinaryIO, Literal, NamedTuple

from streamsvc.rules.catalog.person import PersonRecord
from streamsvc.rules.catalog.programmes import Airing
from streamsvc.rules.catalog.record import MAX_LINE_BYTES, CatalogRecord, FieldError

BOM = b"\xef\xbb\xbf"
UTF_16_BYTE_ORDER_MARKS = (b"\xff\xfe", b"\xfe\xff")
GZIP_SIGNATURE = b"\x1f\x8b"
"""The first bytes of a gzip file."""
MAX_LINES = 20_000_000


class FileTooLarge(Exception):
    """The file exceeds the limit of lines, or of bytes once unpacked."""


class ChannelEntry(NamedTuple):
    """A live channel of a file: its members, and what happens to those of a stored channel that the file leaves out.

    `replace`: they are removed. `merge`: they stay. `create`: a stored channel stays as it is.
    """

    value: dict[str, Any]
    mode: Literal["replace", "merge", "create"] = "replace"


class GuideEntry(NamedTuple):
    """The programmes of one channel of a guide, in order; not empty. `is_declared`: the file has the channel, too."""

    guide_key: str
    schedule: list[Airing]
    is_declared: bool = False


class FileWarning(NamedTuple):
    """Something that was guessed or left out: where, a code to match on, a sentence. The title is imported."""

    field: str
    code: str
    reason: str


class ReadOptions(NamedTuple):
    """What the operator says about a file."""

    columns: Mapping[str, str] = MappingProxyType({})
    """The field that each column of a table is for, by the column's name."""
    encoding: str | None = None
    """The encoding of a table or a playlist; None to detect it."""
    media_base_url: str | None = None
    """The address under which media servers publish the library's folder, or a table's relative paths."""


class FileEntry(NamedTuple):
    """One title of a file, or one person, one live channel, one channel's guide, or only warnings about the file.

    `record` is a complete record. Formats that cannot express everything (no windows, no plans) set `part` instead, a
    partial record that leaves unnamed fields unchanged. If there is neither, `errors` says why.
    """

    line: int
    record: CatalogRecord | None = None
    part: dict[str, Any] | None = None
    external_id: str | None = None
    errors: tuple[FieldError, ...] = ()
    channel: ChannelEntry | None = None
    guide: GuideEntry | None = None
    person: PersonRecord | None = None
    """The record of a line about a person."""
    before: int = 0
    """How many lines of other files precede this file's, if several are read together."""
    file: str | None = None
    """The path of the entry's file inside a folder or an archive."""
    warnings: tuple[FileWarning, ...] = ()
    defaults: dict[str, Any] | None = None
    """What holds for a new title where `part` does not say it."""
    collections: tuple[str, ...] = ()
    """The names of the collections that the title is added to."""

    @property
    def overall_line(self) -> int:
        """The entry's line, counted over all files."""
        return self.before + self.line


def iter_lines(file: BinaryIO, max_lines: int | None = None) -> Iterator[bytes | None]:
    """Yield the lines of a file; None for a line longer than MAX_LINE_BYTES, which is never held in memory whole.

    Drops a byte order mark at the start. Raises FileTooLarge after `max_lines` lines.
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
    """Decode a line as UTF-8; invalid bytes become lone surrogates, so that only their own record is rejected."""
    return line.decode(errors="surrogateescape")


def is_utf_16_or_32(head: bytes) -> bool:
    """Whether a file with these first bytes is in UTF-16 or UTF-32; each format starts with two ASCII characters."""
    return head.startswith(UTF_16_BYTE_ORDER_MARKS) or b"\0" in head[:2]


RECORD_FIELDS = frozenset(CatalogRecord.__struct_fields__)


def keep_known_fields(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that have a value and that a record has: other systems know more about a title."""
    return {name: value for name, value in fields.items() if value and name in RECORD_FIELDS}


def rejected_entry(line: int, code: str, reason: str, field: str = "", external_id: str | None = None) -> FileEntry:
    """Return the entry of a rejected line."""
    return FileEntry(line, external_id=external_id, errors=(FieldError(field, code, reason),))


def channel_entry(
    line: int, value: dict[str, Any], mode: Literal["replace", "merge", "create"] = "replace"
) -> FileEntry:
    """Return the entry of a live channel."""
    external_id = value.get("external_id")
    return FileEntry(
        line,
        external_id=external_id if isinstance(external_id, str) else None,
        channel=ChannelEntry(value, mode),
    )


def overlong_line_entry(line: int) -> FileEntry:
    """Return the entry of a line that is too long."""
    return rejected_entry(line, "too_long", f"A line must have at most {MAX_LINE_BYTES} bytes.")
