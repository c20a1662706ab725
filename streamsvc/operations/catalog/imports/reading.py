"""Reads files in any format: what each format's reader needs, and which of them reads what encodings."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from streamsvc.operations.catalog.formats import (
    FileEntry,
    ReadOptions,
    imdb,
    is_utf_16_or_32,
    m3u,
    ndjson,
    nfo,
    rejected_entry,
    roku,
    table,
    tmdb,
    xmltv,
)

LIVE_FORMATS = ("xmltv", "xmltv_programmes")
"""Formats that have no titles."""
FORMATS = ("ndjson", "csv", "imdb", "roku", "tmdb", "m3u", "nfo", *LIVE_FORMATS)
ANY_ENCODING_FORMATS = ("csv", "m3u", "nfo", *LIVE_FORMATS)
"""Formats whose encoding is detected or declared in the file; the others must be in UTF-8."""
NO_OPTIONS = ReadOptions()


def read_entries(
    file_format: str,
    file: BinaryIO | Path,
    after: int = 0,
    others: Sequence[BinaryIO] = (),
    max_lines: int = sys.maxsize,
    options: ReadOptions = NO_OPTIONS,
) -> Iterator[FileEntry]:
    """Yield the entries of a file, or of a folder of NFO files, after line `after`, with the lines of `others` first.

    `max_lines` limits the lines of all files together. A file in UTF-16 or UTF-32 is rejected as a whole if its format
    must be in UTF-8.
    """
    if file_format == "nfo":
        return nfo.read_nfo(file, after, options)
    if isinstance(file, Path):
        return iter([rejected_entry(1, "unknown_format", "Only a folder of NFO files can be imported.")])
    if file_format not in ANY_ENCODING_FORMATS and any(map(_has_foreign_encoding, (file, *others))):
        reason = "The file must be in UTF-8; it is in UTF-16 or UTF-32."
        return iter([] if after else [rejected_entry(1, "unknown_encoding", reason)])
    match file_format:
        case "imdb":
            return imdb.read_imdb(file, after, others, max_lines) if others else imdb.read_imdb(file, after)
        case "csv":
            return table.read_csv(file, after, options)
        case "m3u":
            return m3u.read_m3u(file, after, options)
        case "tmdb":
            return tmdb.read_tmdb(file, after)
        case "roku":
            return roku.read_roku(file, after)
        case "xmltv":
            return xmltv.read_xmltv(file, after)
        case "xmltv_programmes":
            return xmltv.read_xmltv_programmes(file, after)
    return ndjson.read_ndjson(file, after)


def explain_unrecognized_format(assumed: str, option: str) -> str:
    """Return the hint for a file that looks like no format and is read as `assumed`; `option` names a format."""
    return (
        f"The format was not recognized; the file was read as {assumed}. Name its format with {option}: "
        f"{', '.join(FORMATS)}."
    )


def _has_foreign_encoding(file: BinaryIO) -> bool:
    return is_utf_16_or_32(file.peek(2)[:2])  # type: ignore[attr-defined]  # every file here is buffered
