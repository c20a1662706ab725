"""What the two databases have in common for backups: a dump, a scratch database, and the change to a restored one."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from streamsvc.operations.backup.archive import Progress
from streamsvc.settings import Settings

FULL_TEXT_SEARCH = "_fts"
"""In the names of the tables that SQLite's full-text search keeps for itself."""
TELLING_TABLES = ("accounts", "operators", "api_keys", "titles", "plans", "audit_events")
"""A database with a row in one of these is in use."""
StartProgress = Callable[[int, str], AbstractContextManager[Progress]]
"""Starts a progress bar of so many steps with this label."""


@dataclass(frozen=True)
class Dump:
    """A consistent dump of the database as it was at `taken_at`, by the machine's clock."""

    taken_at: datetime
    revision: str
    rows: dict[str, int]
    chunks: Iterator[bytes]


class Store(Protocol):
    """The database of the settings, and the databases beside it into which a backup is restored. URLs are SQLAlchemy's.

    All methods raise BackupError.
    """

    name: str

    def dump(self, folder: Path, start_progress: StartProgress) -> AbstractContextManager[Dump]:
        """Dump the database while it is in use. `folder`: where a copy may be kept meanwhile."""

    def create_scratch(self, folder: Path | None = None) -> AbstractContextManager[str]:
        """Create an empty database, and yield its URL; it is dropped at the end unless it has replaced the other.

        `folder`: where SQLite keeps it; default: beside the database, which it may then replace.
        """

    def load(self, url: str, chunks: Iterator[bytes]) -> None:
        """Load a dump into an empty database, and check that it is intact."""

    def count_rows(self, url: str = "") -> dict[str, int]:
        """Count the rows of each table; nothing if there is no database. Default: of the settings' database."""

    def replace(self, url: str, moment: datetime) -> str:
        """Let a scratch database take the place of the settings' database, which nobody may be using.

        Returns the name under which the former one is kept; empty if there was none.
        """


def is_in_use(rows: dict[str, int]) -> bool:
    """Whether a database with these numbers of rows contains anything of a service."""
    return any(rows.get(table) for table in TELLING_TABLES)


def current_store(settings: Settings) -> Store:
    """Return the store of the settings' database. PostgreSQL's driver is imported only if it is used."""
    if settings.is_sqlite:
        from streamsvc.operations.backup.sqlite_dumps import SqliteStore

        return SqliteStore(settings.database_url)
    from streamsvc.operations.backup.postgresql_dumps import PostgresqlStore

    return PostgresqlStore(settings.database_url)
