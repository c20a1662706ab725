"""Imports files and folders of the local disk, for the command line."""

import gzip
import io
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from streamsvc.operations.catalog.formats import GZIP_SIGNATURE, ReadOptions
from streamsvc.operations.catalog.formats.library import LIBRARY_EXTENSIONS
from streamsvc.operations.catalog.imports import importing, reading, stored_files
from streamsvc.operations.catalog.imports.importing import CatalogImportReport

DEFAULT_FORMAT = "ndjson"
"""The format of a file that looks like none."""


class LocalSource(NamedTuple):
    """Opened files, or a folder, with their format."""

    format: str
    is_guess: bool
    files: Sequence[BinaryIO | Path]
    size: int
    """Bytes of the files on disk, or NFO files in the folder."""
    position: Callable[[int], int]
    """How much of `size` is done, from the number of lines that are."""
    is_recognized: bool = True
    """Whether the format was named or recognized; else it is the default one."""


@contextmanager
def open_source(
    path: Path | str,
    file_format: str | None = None,
    others: Sequence[Path | str] = (),
    options: ReadOptions = reading.NO_OPTIONS,
) -> Iterator[LocalSource]:
    """Open a file, plain or packed, or a folder, and guess its format unless it is named.

    Raises OSError, EOFError, zlib.error or BadZipFile.
    """
    if Path(path).is_dir():
        size = sum(name.lower().endswith(LIBRARY_EXTENSIONS) for _, _, names in os.walk(path) for name in names)
        yield LocalSource(file_format or "nfo", file_format is None, [Path(path)], size, lambda lines: lines)
        return
    with ExitStack() as stack:
        raws = [stack.enter_context(io.FileIO(name)) for name in (path, *others)]
        readers = [stored_files.ArchiveReader(raw) for raw in raws]
        found = file_format or stored_files.guess_format(readers[0], options)
        name = found or DEFAULT_FORMAT
        files = [file for reader in readers for file in _open_unpacked(reader, name)]
        size = sum(os.fstat(raw.fileno()).st_size for raw in raws)
        is_guess, is_recognized = file_format is None, found is not None
        yield LocalSource(name, is_guess, files, size, lambda _: sum(raw.tell() for raw in raws), is_recognized)


def _open_unpacked(file: stored_files.ArchiveReader, file_format: str) -> Sequence[BinaryIO]:
    """Open a file of the disk, whose unpacked length is not limited as that of a file over HTTP is."""
    file.seek(0)
    if file.peek(2)[:2] == GZIP_SIGNATURE:
        return [gzip.GzipFile(fileobj=file)]  # type: ignore[list-item]  # its stub does not derive from BinaryIO
    return stored_files.open_unpacked(file, file_format)


def import_file(
    path: Path | str,
    on_progress: Callable[[int], None] | None = None,
    dry_run: bool = False,
    file_format: str = DEFAULT_FORMAT,
    most_removals_percent: int | None = None,
    others: Sequence[Path | str] = (),
    options: ReadOptions = reading.NO_OPTIONS,
) -> CatalogImportReport:
    """Import a file, plain or packed, or a folder. `on_progress` gets the number of lines done after each batch.

    With `most_removals_percent`, titles missing from the file are removed, unless they exceed that share of the
    catalogue. `others` are IMDb's other files. Raises OSError, EOFError, zlib.error or BadZipFile for a file that
    cannot be unpacked, and FileTooLarge.
    """
    with open_source(path, file_format, others, options) as source:
        return import_source(source, on_progress, dry_run, most_removals_percent, options)


def import_source(
    source: LocalSource,
    on_progress: Callable[[int], None] | None = None,
    dry_run: bool = False,
    most_removals_percent: int | None = None,
    options: ReadOptions = reading.NO_OPTIONS,
) -> CatalogImportReport:
    """Import opened files."""
    file, *others = source.files
    entries = reading.read_entries(
        source.format, file, others=[other for other in others if not isinstance(other, Path)], options=options
    )
    return importing.import_entries(entries, on_progress, dry_run, most_removals_percent)
