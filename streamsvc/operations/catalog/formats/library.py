"""The files of a library: a folder, or a zip or tar archive of one, indexed in a temporary database on disk.

NFO and STRM files are kept with their text; of media and artwork only the names. Memory does not grow with the number
of files. Links are not followed, and paths that leave the library are reported.
"""

import os
import sqlite3
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

from streamsvc.operations.catalog.formats import FileTooLarge
from streamsvc.operations.catalog.formats.media_addresses import MEDIA_EXTENSIONS

LIBRARY_EXTENSIONS = (".nfo", ".strm")
ART_EXTENSIONS = ("jpg", "jpeg", "png", "webp")
KEPT_EXTENSIONS = {"nfo", "strm", *ART_EXTENSIONS, *MEDIA_EXTENSIONS}
MAX_DIRECTORY_BYTES = 4 << 20
"""Of a zip archive's directory, which is read at once: some 40,000 files."""
MAX_FILES = 500_000
MAX_NFO_BYTES = 1 << 20
MAX_TEXT_BYTES = 512 << 20
"""Of all NFO files together."""
MAX_PATH_LENGTH = 1_000
MAX_TAR_HEADER_BYTES = 64 * 1024
"""Of a long name or an extended header, which tarfile reads at once."""
TAR_HEADER_TYPES = (
    tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE,
)  # fmt: skip
CREATE_TABLES = """
    PRAGMA journal_mode=OFF;
    PRAGMA cache_size=-4096;
    CREATE TABLE files(
        folder, position, name, body BLOB, PRIMARY KEY (folder, position, name)
    ) WITHOUT ROWID;
    CREATE TABLE skipped(path, code, reason);
    BEGIN;
"""
SELECT_NFO_FILES = """
    SELECT folder, name, NULL FROM files WHERE name LIKE '%.nfo' ORDER BY folder, position, name
"""
SELECT_TEXT = "SELECT body FROM files WHERE folder = ? AND name = ? AND position IN (0, 1)"
SELECT_NFO_FILES_BESIDE = "SELECT 1 FROM files WHERE folder = ? AND name LIKE '%.nfo' LIMIT 2"
SELECT_FOLDER_FILES = """
    SELECT folder, name, body FROM files WHERE folder = ? AND name NOT LIKE '%.nfo' ORDER BY name LIMIT 2000
"""
SELECT_NAMED_AFTER = """
    SELECT folder, name, body FROM files
    WHERE folder = ? AND position = 1 AND name >= ? AND name < ? AND name NOT LIKE '%.nfo' ORDER BY name LIMIT 2000
"""
ZIP_SIGNATURE = b"PK"
ZIP_UTF_8_FLAG = 0x800
TAR_SIGNATURE, TAR_SIGNATURE_AT, TAR_HEAD_BYTES = b"ustar", 257, 512
LINK = "link"
SHOW_FILE = "tvshow.nfo"
"""Comes before the other files of its folder."""
OVERLONG = b"\0"
"""Stands for the text of an NFO file that is too long."""


class LibraryFile(NamedTuple):
    folder: str
    """The path of its folder in the library, with a slash at the end; empty at the top."""
    name: str
    body: bytes | None
    """The text of a STRM file."""

    @property
    def path(self) -> str:
        return self.folder + self.name

    @property
    def stem(self) -> str:
        """The name without its extension."""
        return self.name.rpartition(".")[0]


class _SafeTarInfo(tarfile.TarInfo):
    """A member of a tar archive whose header is of a sensible size."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_SafeTarInfo":
        member = super().frombuf(buf, encoding, errors)
        if member.type in TAR_HEADER_TYPES and member.size > MAX_TAR_HEADER_BYTES:
            raise FileTooLarge("The archive has a header that is too long.")
        return member


class Library:
    """The files of a library. `close` deletes the index."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect("", isolation_level=None)  # a temporary file that SQLite deletes on close
        self.connection.executescript(CREATE_TABLES)
        self.file_count = self.text_bytes = 0

    def close(self) -> None:
        """Close and delete the index."""
        self.connection.close()

    def add_folder(self, root: Path) -> None:
        """Index a folder of the disk. Folders that cannot be read are reported."""
        pending = [(str(root), "")]
        while pending:
            path, folder = pending.pop()
            try:
                entries = list(os.scandir(path))
            except OSError as error:
                self._skip(folder, "unreadable", f"The folder cannot be read: {error.strerror}.")
                continue
            for entry in entries:
                if entry.is_symlink():
                    self._skip(folder + entry.name, LINK, "Links are not followed.")
                elif entry.is_dir(follow_symlinks=False):
                    pending.append((entry.path, f"{folder}{entry.name}/"))
                elif entry.is_file(follow_symlinks=False):
                    self._add(folder + entry.name, partial(_read_file, entry.path))

    def add_zip(self, file: BinaryIO) -> None:
        """Index a zip archive. Raises BadZipFile, and FileTooLarge."""
        with zipfile.ZipFile(file) as archive:
            for member in archive.infolist():
                path = _decode_path(member)
                if stat.S_ISLNK(member.external_attr >> 16):
                    self._skip(path, LINK, "Links are not followed.")
                elif not member.is_dir():
                    self._add(path, partial(_read_member, archive, member))

    def add_tar(self, file: BinaryIO) -> None:
        """Index a tar archive, reading it once from start to end. Raises OSError, and FileTooLarge."""
        try:
            with tarfile.open(fileobj=file, mode="r|", tarinfo=_SafeTarInfo) as archive:
                for member in archive:
                    archive.members = []  # type: ignore[attr-defined]  # else it keeps all of them in memory
                    if member.issym() or member.islnk():
                        self._skip(member.name, LINK, "Links are not followed.")
                    elif data := archive.extractfile(member) if member.isfile() else None:
                        self._add(member.name, data.read)
        except (tarfile.TarError, ValueError, OverflowError) as error:
            raise OSError(f"the archive is malformed: {error}") from None

    def add_document(self, name: str, body: bytes) -> None:
        """Add a single NFO file."""
        self._add(name, lambda limit: body[:limit])

    def _add(self, path: str, read: Callable[[int], bytes]) -> None:
        """Add a file of a kind that matters; `read(limit)` returns its first bytes."""
        self.file_count += 1
        if self.file_count > MAX_FILES:
            raise FileTooLarge(f"The library has more than {MAX_FILES} files.")
        plain = path.replace("\\", "/").removeprefix("./")
        extension = plain.rpartition(".")[2].lower()
        if extension not in KEPT_EXTENSIONS:
            return
        if not _is_safe(plain):
            self._skip(plain, "unsafe_path", "The path leaves the library, or has characters that no path should have.")
            return
        body = None
        if extension in ("nfo", "strm"):
            try:
                body = read(MAX_NFO_BYTES + 1)
            except (OSError, zipfile.BadZipFile, RuntimeError, EOFError, ValueError, zlib.error) as error:
                self._skip(plain, "unreadable", f"The file cannot be read: {error}")
                return
            body = OVERLONG if len(body) > MAX_NFO_BYTES else body
            self.text_bytes += len(body)
            if self.text_bytes > MAX_TEXT_BYTES:
                raise FileTooLarge(f"The NFO files have more than {MAX_TEXT_BYTES} bytes.")
        folder, _, name = plain.rpartition("/")
        folder += "/" if folder else ""
        row = (folder, int(name.lower() != SHOW_FILE), name, body)
        self.connection.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", row)

    def _skip(self, path: str, code: str, reason: str) -> None:
        self.file_count += 1
        if self.file_count > MAX_FILES:
            raise FileTooLarge(f"The library has more than {MAX_FILES} files.")
        plain = path.encode(errors="replace").decode()[:MAX_PATH_LENGTH]
        self.connection.execute("INSERT INTO skipped VALUES (?, ?, ?)", (plain, code, reason))

    def skipped(self) -> Iterator[tuple[str, str, str]]:
        """Yield the paths that were left out, each with a code and the reason."""
        yield from self.connection.execute("SELECT path, code, reason FROM skipped ORDER BY path, reason")

    def nfo_files(self) -> Iterator[LibraryFile]:
        """Yield the NFO files in the order of their folders, without text; a series' own before the others of its."""
        yield from map(LibraryFile._make, self.connection.execute(SELECT_NFO_FILES))

    def count_nfo_files(self) -> int:
        """Return the number of NFO files."""
        return self.connection.execute("SELECT count(*) FROM files WHERE name LIKE '%.nfo'").fetchone()[0]

    def read_text(self, file: LibraryFile) -> bytes:
        """Return the text of an NFO file."""
        row = self.connection.execute(SELECT_TEXT, (file.folder, file.name)).fetchone()
        return row[0]

    def list_siblings(self, file: LibraryFile, is_named_after: bool) -> list[LibraryFile]:
        """Return the media and artwork in the folder of an NFO file.

        In a folder of several NFO files, only those are its own whose names begin with its name.
        """
        beside = self.connection.execute(SELECT_NFO_FILES_BESIDE, (file.folder,)).fetchall()
        if is_named_after and len(beside) > 1:
            rows = self.connection.execute(SELECT_NAMED_AFTER, (file.folder, file.stem, file.stem + chr(0x10FFFF)))
        else:
            rows = self.connection.execute(SELECT_FOLDER_FILES, (file.folder,))
        return [LibraryFile._make(row) for row in rows]


def open_library(source: BinaryIO | Path) -> Library:
    """Index a folder, a zip or tar archive, or a single NFO file. Raises OSError, BadZipFile and FileTooLarge."""
    library = Library()
    if isinstance(source, Path):
        library.add_folder(source)
        return library
    head = source.read(TAR_HEAD_BYTES)
    source.seek(0)
    if head.startswith(ZIP_SIGNATURE):
        library.add_zip(source)
    elif is_tar(head):
        library.add_tar(source)
    else:
        library.add_document("movie.nfo", source.read(MAX_NFO_BYTES + 1))
    return library


def is_tar(head: bytes) -> bool:
    """Whether a file with these first bytes is a tar archive."""
    return head[TAR_SIGNATURE_AT : TAR_SIGNATURE_AT + len(TAR_SIGNATURE)] == TAR_SIGNATURE


def _read_file(path: str, limit: int) -> bytes:
    with Path(path).open("rb") as file:
        return file.read(limit)


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, limit: int) -> bytes:
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others may need any amount of memory
        raise zipfile.BadZipFile("it must be stored or deflated")
    with archive.open(member) as file:
        return file.read(limit)


def _decode_path(member: zipfile.ZipInfo) -> str:
    """Return the path of a zip archive's member.

    Info-ZIP and macOS write UTF-8 without the flag that says so; zipfile reads such names as code page 437.
    """
    if member.flag_bits & ZIP_UTF_8_FLAG:
        return member.filename
    try:
        return member.filename.encode("cp437").decode()
    except UnicodeError:
        return member.filename


def _is_safe(path: str) -> bool:
    """Whether a path stays in the library and can be stored and shown."""
    if not path or len(path) > MAX_PATH_LENGTH or path.startswith("/") or not path.isprintable():
        return False
    return not any(part in ("", ".", "..") for part in path.split("/")) and path[1:2] != ":"
