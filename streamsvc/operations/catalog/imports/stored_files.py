"""Reads the file of an import from its stored chunks, unpacking gzip and zip."""

import gzip
import io
import struct
import zipfile
from typing import Any, BinaryIO

import sqlalchemy as sa

from streamsvc.models import ImportChunk
from streamsvc.operations.catalog.formats import GZIP_SIGNATURE, FileTooLarge
from streamsvc.storage.database import fetch_one

CHUNK_BYTES = 256 * 1024
MAX_UNPACKED_BYTES = 4 << 30
ZIP_SIGNATURE = b"PK"
"""The first bytes of an archive."""
MAX_ARCHIVE_MEMBERS = 20
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
    """Reads an archive. Its directory is read at once and may be no larger than a chunk."""

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > CHUNK_BYTES:
            raise FileTooLarge("The archive has too many files.")
        return super().read(size)


def open_import_files(import_id: str, archives: bool) -> list[BinaryIO]:
    """Open the file of an import, unpacked; if it is a zip archive and `archives` is true, its members.

    Raises OSError, EOFError, zlib.error or BadZipFile, now or while reading, if it cannot be unpacked; FileTooLarge if
    it exceeds the limits.
    """
    file = ArchiveReader(StoredFile(import_id), CHUNK_BYTES)
    return _open_archive_members(file) if archives and _starts_with(file, ZIP_SIGNATURE) else [_unpack_gzip(file, [])]


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
        members = [member for member in archive.infolist() if not member.is_dir()]
        if not members:
            raise zipfile.BadZipFile("the archive is empty")
        if len(members) > MAX_ARCHIVE_MEMBERS:
            raise FileTooLarge(f"The archive has more than {MAX_ARCHIVE_MEMBERS} files.")
        if any(member.compress_type not in ACCEPTED_COMPRESSION for member in members):
            raise zipfile.BadZipFile("files in the archive must be stored or deflated")
        outer: list[UnpackedFile] = []
        inner: list[UnpackedFile] = []
        return [_unpack_gzip(_buffered(archive.open(member), outer), inner) for member in members]
    except (ValueError, OverflowError, IndexError, RuntimeError, struct.error) as error:  # encrypted archives, too
        raise zipfile.BadZipFile(str(error)) from None
