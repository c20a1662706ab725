"""The file of a backup: a ZIP archive of a dump of the database and a manifest, written entirely or not at all."""

import hashlib
import json
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import IO

from streamsvc.storage.database import format_utc
from streamsvc.storage.private_files import PRIVATE, write_private_file

FORMAT = 1
"""Raised when an older release could not read the file."""
MANIFEST, SECRET_KEY = "manifest.json", "secret.key"
DUMPS = {"sqlite": "database.sqlite3", "postgresql": "database.pgdump"}
"""Name of the dump in the archive, by database."""
CHUNK_BYTES = 1024 * 1024
COMPRESSION_LEVEL = 1
Progress = Callable[[int], object]
"""Called with the number of steps done since its last call."""


class BackupError(Exception):
    """A backup cannot be made, read or restored; the message says why, and what to do."""


@dataclass(frozen=True)
class Manifest:
    """What a backup contains. `taken_at` is the machine's time, `service_time` that of the service, RFC 3339."""

    database: str
    """sqlite or postgresql."""
    revision: str
    """The revision of its schema."""
    version: str
    """The release that made it."""
    taken_at: str
    service_time: str
    rows: dict[str, int]
    """Number of rows by table."""
    dump_bytes: int
    sha256: str
    """Of the dump."""
    key_digest: str
    """Identifies the secret key that the secrets in the database are encrypted with; see `digest_secret_key`."""
    format: int = FORMAT

    @property
    def total_rows(self) -> int:
        return sum(self.rows.values())

    @property
    def taken(self) -> datetime:
        return datetime.fromisoformat(self.taken_at)

    @property
    def service_taken(self) -> datetime:
        return datetime.fromisoformat(self.service_time)


def digest_secret_key(key: str) -> str:
    """Return what tells secret keys apart, and reveals nothing of one that was generated."""
    return hashlib.sha256(f"streamsvc backup {key}".encode()).hexdigest()[:16]


def format_moment(moment: datetime) -> str:
    return format_utc(moment)


@contextmanager
def write_atomically(path: Path, *, replaces: bool = False) -> Iterator[IO[bytes]]:
    """Yield a new file for `write_private_file`. Raises BackupError if there is one of this name, or it fails."""
    try:
        if path.exists() and not replaces:
            raise FileExistsError
        with write_private_file(path, replaces=replaces) as file:
            yield file
    except FileExistsError:
        raise BackupError(f"{path} already exists; choose another name, or remove it first") from None
    except OSError as error:
        raise BackupError(f"{path} cannot be written: {error.strerror or error}") from None


def add_dump(archive: zipfile.ZipFile, database: str, chunks: Iterator[bytes]) -> tuple[int, str]:
    """Add the dump to the archive; returns (bytes, SHA-256). SQLite's is compressed; PostgreSQL's already is."""
    digest, size = hashlib.sha256(), 0
    member = zipfile.ZipInfo(DUMPS[database], date_time=(1980, 1, 1, 0, 0, 0))
    member.compress_type = zipfile.ZIP_DEFLATED if database == "sqlite" else zipfile.ZIP_STORED
    member._compresslevel = COMPRESSION_LEVEL  # type: ignore[attr-defined]  # public only from Python 3.13
    member.external_attr = PRIVATE << 16
    with archive.open(member, "w", force_zip64=True) as target:
        for chunk in chunks:
            digest.update(chunk)
            size += target.write(chunk)
    return size, digest.hexdigest()


def add_text(archive: zipfile.ZipFile, name: str, text: str) -> None:
    member = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    member.external_attr = PRIVATE << 16
    archive.writestr(member, text)


def add_manifest(archive: zipfile.ZipFile, manifest: Manifest) -> None:
    add_text(archive, MANIFEST, json.dumps(asdict(manifest), indent=1) + "\n")


@contextmanager
def open_archive(path: Path) -> Iterator[tuple[zipfile.ZipFile, Manifest]]:
    """Yield the archive and its manifest. Raises BackupError if it is none, or a part is missing or damaged."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise BackupError(f"{path} cannot be read: {error.strerror}") from None
    try:
        with file, zipfile.ZipFile(file) as archive:
            yield archive, read_manifest(archive, path)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise BackupError(f"{path} is not a complete backup: {error}") from None


def read_manifest(archive: zipfile.ZipFile, path: Path) -> Manifest:
    """Read the manifest. Raises BackupError."""
    try:
        document = json.loads(archive.read(MANIFEST))
        if document["format"] > FORMAT:
            raise BackupError(f"{path} was made by a newer release ({document['version']}); restore it with that one")
        manifest = Manifest(**document)
        has_moments = manifest.taken.tzinfo and manifest.service_taken.tzinfo
        if manifest.database not in DUMPS or not has_moments or not isinstance(manifest.rows, dict):
            raise ValueError("unknown values")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BackupError(f"{path} is not a backup of this service: its manifest cannot be read ({error})") from None
    return manifest


def read_dump(archive: zipfile.ZipFile, manifest: Manifest, path: Path) -> Iterator[bytes]:
    """Yield the dump in chunks. Raises BackupError at its end unless it is what the manifest says."""
    digest, size = hashlib.sha256(), 0
    try:
        with archive.open(DUMPS[manifest.database]) as source:
            while chunk := source.read(CHUNK_BYTES):
                digest.update(chunk)
                size += len(chunk)
                yield chunk
    except KeyError:
        raise BackupError(f"{path} is not a complete backup: it has no dump") from None
    if (size, digest.hexdigest()) != (manifest.dump_bytes, manifest.sha256):
        raise BackupError(f"{path} is damaged: its checksum is not the one in its manifest")
