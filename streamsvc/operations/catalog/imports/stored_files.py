"""Reads the file of an import from its stored chunks, unpacks gzip and zip, and guesses the format of the content."""

import gzip
import io
import struct
import zipfile
import zlib
from typing import Any, BinaryIO

import sqlalchemy as sa

from streamsvc.models import ImportChunk
from streamsvc.operations.catalog.formats import GZIP_SIGNATURE, FileTooLarge, ReadOptions, guessing
from streamsvc.operations.catalog.formats.library import MAX_DIRECTORY_BYTES, MAX_NFO_BYTES
from streamsvc.storage.database import fetch_one

CHUNK_BYTES = 256 * 1024
MAX_UNPACKED_BYTES = 4 << 30
ZIP_SIGNATURE = b"PK"
"""The first bytes of an archive."""
MAX_ARCHIVE_MEMBERS = 20
ARCHIVE_ERRORS = (ValueError, OverflowError, IndexError, RuntimeError, struct.error)
"""What zipfile raises for malformed archives, and for encrypted ones."""
ACCEPTED_COMPRESSION = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""How members of an archive may be compressed; other methods may need any amount of memory."""


class StoredFile(io.RawIOBase):
    """A stored file. Each chunk is read outside any transaction, so that reading holds no lock."""

    def __init__(self, import_id: str):
        self.import_id = import_id
        self.offset = 0
        self.position: int | None = None
        self.chunk = b""
        chunks = sa.select(ImportChunk.position, sa.func.length(ImportChunk.body).label("bytes"))
        last = fetch_one(chunks.where(self._own_chunks()).order_by(ImportChunk.position.desc()).limit(1))
        self.size = last.position * CHUNK_BYTES + last.bytes if last else 0

    def _own_chunks(self) -> sa.ColumnElement[bool]:
        return ImportChunk.import_id == self.import_id

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.offset = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.offset, io.SEEK_END: self.size}[whence]
        return self.offset

    def readinto(self, buffer: Any) -> int:
        position, skipped = divmod(self.offset, CHUNK_BYTES)
        if position != self.position:
            row = fetch_one(sa.select(ImportChunk.body).where(self._own_chunks(), ImportChunk.position == position))
            self.position, self.chunk = position, row.body if row else b""
        data = self.chunk[skipped : skipped + len(buffer)]
        buffer[: len(data)] = data
        self.offset += len(data)
        return len(data)


class UnpackedFile(io.RawIOBase):
    """An unpacked file that can be read again from the start.

    Reading raises FileTooLarge if the files of its `group` together unpack to more than MAX_UNPACKED_BYTES.
    """

    def __init__(self, file: BinaryIO, group: "list[UnpackedFile]"):
        self.file, self.max_offset = file, 0
        self.group = group
        group.append(self)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self.file.seek(offset, whence)

    def readinto(self, buffer: Any) -> int:
        if sum(member.max_offset for member in self.group) > MAX_UNPACKED_BYTES:
            raise FileTooLarge(f"It unpacks to more than {MAX_UNPACKED_BYTES} bytes.")
        data = self.file.read(len(buffer))
        buffer[: len(data)] = data
        self.max_offset = max(self.max_offset, self.file.tell())
        return len(data)


class ArchiveReader(io.BufferedReader):
    """Reads an archive. Its directory is read at once, and so may be no larger than `max_read_bytes`."""

    def __init__(self, raw: io.RawIOBase):
        super().__init__(raw, CHUNK_BYTES)
        self.max_read_bytes = CHUNK_BYTES

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > self.max_read_bytes:
            raise FileTooLarge("The archive has too many files.")
        return super().read(size)


def open_import_files(import_id: str, file_format: str) -> list[BinaryIO]:
    """Open the file of an import, unpacked. Raises as `open_unpacked` does."""
    return open_unpacked(ArchiveReader(StoredFile(import_id)), file_format)


def open_unpacked(file: ArchiveReader, file_format: str) -> list[BinaryIO]:
    """Return a file, unpacked: IMDb's files in an archive, a library's archive as it is, and otherwise one file.

    Raises OSError, EOFError, zlib.error or BadZipFile, now or while reading, if it cannot be unpacked; FileTooLarge if
    it exceeds the limits.
    """
    if not _starts_with(file, ZIP_SIGNATURE):
        file.max_read_bytes = MAX_NFO_BYTES + 1  # a single NFO file is read at once
        return [_unpack_gzip(file, [])]
    if file_format == "nfo":
        file.max_read_bytes = MAX_DIRECTORY_BYTES
        return [file]
    members = _open_archive_members(file)
    if file_format != "imdb" and len(members) > 1:
        raise zipfile.BadZipFile("the archive has several files and is neither IMDb's nor a library; send one of them")
    return members


def guess_format(file: ArchiveReader, options: ReadOptions | None = None) -> str | None:
    """Return the format that the content of a file looks like, plain or packed; None if it looks like none."""
    try:
        if _starts_with(file, ZIP_SIGNATURE):
            file.max_read_bytes = MAX_DIRECTORY_BYTES
            with zipfile.ZipFile(file) as archive:
                found = guessing.guess_archive_format(archive.namelist())
            file.max_read_bytes = CHUNK_BYTES
            file.seek(0)
            if found:
                return found
        head = open_unpacked(file, "")[0].read(guessing.HEAD_BYTES)
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, FileTooLarge, *ARCHIVE_ERRORS):
        return None
    return guessing.guess_format(head, options)


def _starts_with(file: BinaryIO, signature: bytes) -> bool:
    head = file.read(len(signature))
    file.seek(0)
    return head == signature


def _unpack_gzip(file: BinaryIO, group: list[UnpackedFile]) -> BinaryIO:
    return _buffered(gzip.GzipFile(fileobj=file), group) if _starts_with(file, GZIP_SIGNATURE) else file


def _buffered(file: Any, group: list[UnpackedFile]) -> io.BufferedReader:
    return io.BufferedReader(UnpackedFile(file, group), CHUNK_BYTES)


def _open_archive_members(file: BinaryIO) -> list[BinaryIO]:
    try:
        archive = zipfile.ZipFile(file)
        members = [member for member in archive.infolist() if guessing.is_content(member.filename)]
        if not members:
            raise zipfile.BadZipFile("the archive is empty")
        if len(members) > MAX_ARCHIVE_MEMBERS:
            raise FileTooLarge(f"The archive has more than {MAX_ARCHIVE_MEMBERS} files.")
        if any(member.compress_type not in ACCEPTED_COMPRESSION for member in members):
            raise zipfile.BadZipFile("files in the archive must be stored or deflated")
        outer: list[UnpackedFile] = []
        inner: list[UnpackedFile] = []
        return [_unpack_gzip(_buffered(archive.open(member), outer), inner) for member in members]
    except ARCHIVE_ERRORS as error:
        raise zipfile.BadZipFile(str(error)) from None
