"""The file of an import, read out of the pieces in which it is kept; unpacked where it came packed."""

import gzip
import io
import struct
import zipfile
from typing import BinaryIO

import sqlalchemy as sa

from streamsvc.models import ImportChunk
from streamsvc.operations.catalog.formats import GZIP, TooLarge
from streamsvc.storage.database import one_row

PIECE_BYTES = 256 * 1024
LARGEST_UNPACKED_BYTES = 4 << 30
ZIP = b"PK"
"""How an archive begins."""
MOST_MEMBERS = 20
TAKEN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""How members of an archive may be packed: what else there is may ask for any amount of memory."""


class Pieces(io.RawIOBase):
    """The kept file. Each piece is read by itself, outside of any unit of work, so that nobody waits meanwhile."""

    def __init__(self, import_id: str):
        self.import_id = import_id
        self.place = 0
        self.position, self.piece = None, b""
        last = sa.select(ImportChunk.position, sa.func.length(ImportChunk.body).label("bytes"))
        last = one_row(last.where(self._ours()).order_by(ImportChunk.position.desc()).limit(1))
        self.size = last.position * PIECE_BYTES + last.bytes if last else 0

    def _ours(self):
        return ImportChunk.import_id == self.import_id

    def readable(self):
        return True

    def seekable(self):
        return True

    def seek(self, offset, whence=io.SEEK_SET):
        self.place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.place, io.SEEK_END: self.size}[whence]
        return self.place

    def readinto(self, buffer):
        position, skipped = divmod(self.place, PIECE_BYTES)
        if position != self.position:
            found = one_row(sa.select(ImportChunk.body).where(self._ours(), ImportChunk.position == position))
            self.position, self.piece = position, found.body if found else b""
        taken = self.piece[skipped : skipped + len(buffer)]
        buffer[: len(taken)] = taken
        self.place += len(taken)
        return len(taken)


class Unpacked(io.RawIOBase):
    """What a packed file holds, to be read again from its beginning.

    Raises TooLarge where it and those `beside` it unpack to more than files may.
    """

    def __init__(self, file: BinaryIO, beside: "list[Unpacked]"):
        self.file, self.farthest = file, 0
        self.together = beside
        beside.append(self)

    def readable(self):
        return True

    def seekable(self):
        return True

    def seek(self, offset, whence=io.SEEK_SET):
        return self.file.seek(offset, whence)

    def readinto(self, buffer):
        if sum(one.farthest for one in self.together) > LARGEST_UNPACKED_BYTES:
            raise TooLarge(f"It unpacks to more than {LARGEST_UNPACKED_BYTES} bytes.")
        taken = self.file.read(len(buffer))
        buffer[: len(taken)] = taken
        self.farthest = max(self.farthest, self.file.tell())
        return len(taken)


class OfArchive(io.BufferedReader):
    """What an archive is read from: its directory is asked for at once, and may be no larger than a piece."""

    def read(self, size=-1):
        if size is not None and size > PIECE_BYTES:
            raise TooLarge("It is an archive of too many files.")
        return super().read(size)


def files(import_id: str, archives: bool) -> list[BinaryIO]:
    """The file of an import, unpacked; those in it, where it is a zip archive and `archives` are taken.

    One that cannot be unpacked raises OSError, EOFError, zlib.error or BadZipFile, now or when it is read; one of
    more than a file may have, TooLarge.
    """
    whole = OfArchive(Pieces(import_id), PIECE_BYTES)
    return _members(whole) if archives and _begins(whole, ZIP) else [_without_gzip(whole, [])]


def _begins(file, mark):
    head = file.read(len(mark))
    file.seek(0)
    return head == mark


def _without_gzip(file, beside):
    return _buffered(gzip.GzipFile(fileobj=file), beside) if _begins(file, GZIP) else file


def _buffered(file, beside):
    return io.BufferedReader(Unpacked(file, beside), PIECE_BYTES)


def _members(whole):
    try:
        archive = zipfile.ZipFile(whole)
        members = [one for one in archive.infolist() if not one.is_dir()]
        if not members:
            raise zipfile.BadZipFile("there is no file in the archive")
        if len(members) > MOST_MEMBERS:
            raise TooLarge(f"It is an archive of more than {MOST_MEMBERS} files.")
        if any(one.compress_type not in TAKEN for one in members):
            raise zipfile.BadZipFile("a file in the archive is packed in another way than deflated")
        outer, inner = [], []
        return [_without_gzip(_buffered(archive.open(one), outer), inner) for one in members]
    except (ValueError, OverflowError, IndexError, RuntimeError, struct.error) as broken:  # encrypted ones, too
        raise zipfile.BadZipFile(str(broken)) from None
