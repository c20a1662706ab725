"""Dumps of SQLite: copies by its online backup API, of one snapshot, while others write."""

import os
import secrets
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import make_url

from streamsvc import clock
from streamsvc.operations.backup.archive import CHUNK_BYTES, BackupError, Progress
from streamsvc.operations.backup.dumps import FULL_TEXT_SEARCH, Dump, StartProgress
from streamsvc.storage.private_files import PRIVATE, sync_folder

PAGES_PER_STEP = 1024
IN_USE = "is in use; stop the service, and every `streamsvc worker`, first"
TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!'"


class SqliteStore:
    """The file of the settings' database."""

    name = "sqlite"

    def __init__(self, url: str) -> None:
        self.path = Path(make_url(url).database or "")

    @contextmanager
    def dump(self, folder: Path, start_progress: StartProgress) -> Iterator[Dump]:
        if not self.path.is_file():
            raise BackupError(f"{self.path} does not exist; STREAMSVC_DATABASE_URL names the database")
        copy = create_private_file(folder, self.path.name)
        try:
            taken_at = self._copy(copy, start_progress)
            check_file(copy)
            with start_progress(copy.stat().st_size, "Writing") as advance:
                rows, revision = count_file_rows(copy), read_revision(copy)
                yield Dump(taken_at, revision, rows, read_chunks(copy, advance))
        finally:
            remove_database(copy)

    def _copy(self, copy: Path, start_progress: StartProgress) -> datetime:
        """Copy the database as it is at one moment, which is returned.

        The source is in a read transaction, so that a write of another process does not begin the copy anew:
        https://sqlite.org/backup.html
        """
        with _connect(self.path) as source, _connect(copy) as target:
            source.execute("BEGIN")
            source.execute("SELECT 1 FROM sqlite_master").fetchall()
            taken_at = clock.wall_time()
            total, copied = source.execute("PRAGMA page_count").fetchone()[0], 0
            with start_progress(total, "Copying") as advance:

                def show_progress(status: int, remaining: int, pages: int) -> None:
                    nonlocal copied
                    advance(pages - remaining - copied)
                    copied = pages - remaining

                source.backup(target, pages=PAGES_PER_STEP, progress=show_progress)
            target.execute("PRAGMA journal_mode=DELETE")  # so that it is a single file
        return taken_at

    @contextmanager
    def create_scratch(self, folder: Path | None = None) -> Iterator[str]:
        path = create_private_file(folder or self.path.parent, self.path.name)
        try:
            yield f"sqlite:///{path}"
        finally:
            remove_database(path)

    def load(self, url: str, chunks: Iterator[bytes]) -> None:
        path = _path_of(url)
        with path.open("wb") as file:
            file.writelines(chunks)
        check_file(path)

    def count_rows(self, url: str = "") -> dict[str, int]:
        path = _path_of(url) if url else self.path
        if not path.is_file():
            return {}
        try:
            return count_file_rows(path)
        except sqlite3.DatabaseError as error:
            raise BackupError(f"{path} cannot be read: {error}") from None

    def replace(self, url: str, moment: datetime) -> str:
        scratch = _path_of(url)
        with _connect(scratch) as connection:
            connection.execute("PRAGMA journal_mode=DELETE")
        if self.path.exists():
            copy_access(self.path, scratch)
        with scratch.open("rb") as file:
            os.fsync(file.fileno())
        kept = self._keep_former(moment) if self.path.exists() else ""
        scratch.replace(self.path)
        sync_folder(self.path.parent)
        return kept

    def _keep_former(self, moment: datetime) -> str:
        """Give the former database a second name, once it is a single file that nobody has open."""
        kept = self.path.with_name(f"{self.path.name}.replaced-{moment:%Y%m%dT%H%M%SZ}")
        with _connect(self.path) as connection:
            try:
                connection.execute("PRAGMA journal_mode=DELETE")
                connection.execute("BEGIN EXCLUSIVE")
            except sqlite3.OperationalError:
                raise BackupError(f"{self.path} {IN_USE}") from None
            except sqlite3.DatabaseError:  # damaged, which may be why it is replaced
                for suffix in ("-wal", "-shm"):
                    with suppress(FileNotFoundError):
                        os.rename(f"{self.path}{suffix}", f"{kept}{suffix}")
            os.link(self.path, kept)
        return str(kept)


@contextmanager
def _connect(path: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection that begins no transactions by itself, and wait for no other's locks."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=1)) as connection:
        yield connection


def _path_of(url: str) -> Path:
    return Path(make_url(url).database or "")


def create_private_file(folder: Path, name: str) -> Path:
    """Create an empty file that only its owner can read. Raises BackupError."""
    path = folder / f".{name}.{secrets.token_hex(4)}.scratch"
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, PRIVATE))
    except OSError as error:
        raise BackupError(f"{folder} cannot be written to: {error.strerror}") from None
    return path


def copy_access(source: Path, target: Path) -> None:
    """Give a file the owner and the permissions of another: root may restore what another user's service reads."""
    shutil.copymode(source, target)
    status = source.stat()
    with suppress(PermissionError):  # only root can give files away; the owner is then the same
        os.chown(target, status.st_uid, status.st_gid)


def remove_database(path: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        with suppress(FileNotFoundError):
            os.unlink(f"{path}{suffix}")


def check_file(path: Path) -> None:
    """Raise BackupError if the file is no database, is damaged, or has rows that refer to none."""
    try:
        with _connect(path) as connection:
            found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
            dangling = connection.execute("PRAGMA foreign_key_check").fetchmany(1)
    except sqlite3.DatabaseError as error:
        raise BackupError(f"the database is damaged: {error}") from None
    if found != "ok" or dangling:
        raise BackupError(f"the database is damaged: {found if found != 'ok' else f'dangling row in {dangling[0][0]}'}")


def count_file_rows(path: Path) -> dict[str, int]:
    with _connect(path) as connection:
        connection.execute("PRAGMA query_only=1")
        tables = [row[0] for row in connection.execute(TABLES) if FULL_TEXT_SEARCH not in row[0]]
        counts = {name: str(sa.select(sa.func.count()).select_from(sa.table(name))) for name in sorted(tables)}
        return {name: connection.execute(count).fetchone()[0] for name, count in counts.items()}


def read_revision(path: Path) -> str:
    """Read the revision of the schema. Raises BackupError if it has none."""
    try:
        with _connect(path) as connection:
            return str(connection.execute("SELECT version_num FROM alembic_version").fetchone()[0])
    except (sqlite3.DatabaseError, TypeError):
        raise BackupError("the database has no schema; run `streamsvc db upgrade` first") from None


def read_chunks(path: Path, advance: Progress) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
            advance(len(chunk))
