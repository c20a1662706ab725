"""A folder of backups that are made regularly: the name of the next one, and which ones are too old."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

NAME_FORMAT = "streamsvc-%Y%m%dT%H%M%SZ.backup"
NAME = re.compile(r"streamsvc-\d{8}T\d{6}Z\.backup", re.ASCII)


def next_path(folder: Path, now: datetime) -> Path:
    """Return the path of a backup that is made now; of the next free second, if another one is being made."""
    while (path := folder / now.astimezone(UTC).strftime(NAME_FORMAT)).exists():
        now += timedelta(seconds=1)
    return path


def list_expired(folder: Path, now: datetime, keep: timedelta) -> list[Path]:
    """List the backups that were made longer than `keep` ago, oldest first, by their names; never the newest one.

    Files with other names are nobody's to delete.
    """
    made = sorted((moment, path) for path in folder.iterdir() if (moment := _moment_of(path.name)) and path.is_file())
    return [path for moment, path in made[:-1] if now - moment > keep]


def _moment_of(name: str) -> datetime | None:
    try:
        return datetime.strptime(name, NAME_FORMAT).replace(tzinfo=UTC) if NAME.fullmatch(name) else None
    except ValueError:  # such as day 99
        return None
