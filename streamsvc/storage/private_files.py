"""Files with secrets in them: only their owner can read them, and they are complete or absent."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

PRIVATE = 0o600


@contextmanager
def write_private_file(path: Path, *, replaces: bool = False) -> Iterator[IO[bytes]]:
    """Yield a new file that only its owner can read; at the end it is on disk under its name, or else it is gone.

    `replaces`: it takes the place of a file of this name; otherwise raises FileExistsError if there is one. Raises
    OSError if it cannot be written.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with os.fdopen(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, PRIVATE), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if replaces:
            draft.replace(path)
        else:
            os.link(draft, path)  # unlike a rename, it never replaces a file
        sync_folder(path.parent)
    finally:
        with suppress(OSError):
            draft.unlink()


def sync_folder(folder: Path) -> None:
    """Write the names in a folder to disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
