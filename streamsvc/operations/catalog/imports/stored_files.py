"""The file of an import, read out of the pieces in which it is kept; unpacked where it came packed."""

import gzip
import io
import struct
import zipfile
from typing import BinaryIO

import sqlalchemy as sa

from streamsvc.models import ImportChunk
from streamsvc.operations.catalog.formats import GZIP_SIGNATURE, FileTooLarge
from streamsvc.storage.database import fetch_one

CHUNK_BYTES = 256 * 1024
MAX_UNPACKED_BYTES = 4 << 30
ZIP_SIGNATURE = b"PK"
"""How an archive begins."""
MAX_ARCHIVE_MEMBERS = 20
ACCEPTED_COMPRESSION = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""How members of an archive may be packed: what else there is may ask for any amount of memory."""


class StoredFile(io.RawIOBase):
    """The kept file. Each piece is read by itself, outside of any unit of work, so that nobody waits meanwhile."""

    def __init__(self, import_id: str):
        self.import_id = import_id
        self.offset = 0
        self.position, self.chunk = None, b""
        last = sa.select(ImportChunk.position, sa.func.length(ImportChunk.body).label("bytes"))
        last = fetch_one(last.where(self._own_chunks()).order_by(ImportChunk.position.desc()).limit(1))
        self.size = last.position * CHUNK_BYTES + last.bytes if last else 0

    def _own_chunks(self):
        return ImportChunk.import_id == self.import_id

    def readable(self):
        return True

    def seekable(self):
        return True

    def seek(self, offset, whence=io.SEEK_SET):
        self.offset = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.offset, io.SEEK_END: self.size}[whence]
        return self.offset

    def readinto(self, buffer):
        position, skipped = divmod(self.offset, CHUNK_BYTES)
        if position != self.position:
            found = fetch_one(sa.select(ImportChunk.body).where(self._own_chunks(), ImportChunk.position == position))
            self.position, self.chunk = position, found.body if found else b""
        taken = self.chunk[skipped : skipped + len(buffer)]
        buffer[: len(taken)] = taken
        self.offset += len(taken)
        return len(taken)


class UnpackedFile(io.RawIOBase):
    """What a packed file holds, to be read again from its beginning.

    Raises TooLarge where it and those `beside` it unpack to more than files may.
    """

    def __init__(self, file: BinaryIO, beside: "list[UnpackedFile]"):
        self.file, self.max_offset = file, 0
        self.group = beside
        beside.append(self)

    def readable(self):
        return True

    def seekable(self):
        return True

    def seek(self, offset, whence=io.SEEK_SET):
        return self.file.seek(offset, whence)

    def readinto(self, buffer):
        if sum(one.max_offset for one in self.group) > MAX_UNPACKED_BYTES:
            raise FileTooLarge(f"It unpacks to more than {MAX_UNPACKED_BYTES} bytes.")
        taken = self.file.read(len(buffer))
        buffer[: len(taken)] = taken
        self.max_offset = max(self.max_offset, self.file.tell())
        return len(taken)


class ArchiveReader(io.BufferedReader):
    """What an archive is read from: its directory is asked for at once, and may be no larger than a piece."""

    def read(self, size=-1):
        if size is not None and size > CHUNK_BYTES:
            raise FileTooLarge("It is an archive of too many files.")
        return super().read(size)


def open_import_files(import_id: str, archives: bool) -> list[BinaryIO]:
    """The file of an import, unpacked; those in it, where it is a zip archive and `archives` are taken.

    One that cannot be unpacked raises OSError, EOFError, zlib.error or BadZipFile, now or when it is read; one of
    more than a file may have, TooLarge.
    """
    whole = ArchiveReader(StoredFile(import_id), CHUNK_BYTES)
    return (
        _open_archive_members(whole) if archives and _starts_with(whole, ZIP_SIGNATURE) else [_unpack_gzip(whole, [])]
    )


def _starts_with(file, signature):
    head = file.read(len(signature))
    file.seek(0)
    return head == signature


def _unpack_gzip(file, group):
    return _buffered(gzip.GzipFile(fileobj=file), group) if _starts_with(file, GZIP_SIGNATURE) else file


def _buffered(file, group):
    return io.BufferedReader(UnpackedFile(file, group), CHUNK_BYTES)


def _open_archive_members(whole):
    try:
        archive = zipfile.ZipFile(whole)
        members = [one for one in archive.infolist() if not one.is_dir()]
        if not members:
            raise zipfile.BadZipFile("there is no file in the archive")
        if len(members) > MAX_ARCHIVE_MEMBERS:
            raise FileTooLarge(f"It is an archive of more than {MAX_ARCHIVE_MEMBERS} files.")
        if any(one.compress_type not in ACCEPTED_COMPRESSION for one in members):
            raise zipfile.BadZipFile("a file in the archive is packed in another way than deflated")
        outer, inner = [], []
        return [_unpack_gzip(_buffered(archive.open(one), outer), inner) for one in members]
    except (ValueError, OverflowError, IndexError, RuntimeError, struct.error) as broken:  # encrypted ones, too
        raise zipfile.BadZipFile(str(broken)) from None
