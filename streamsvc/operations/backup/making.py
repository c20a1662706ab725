"""Makes a backup: a dump of the database, a manifest, and if asked for the secret key, in one file."""

import zipfile
from datetime import datetime
from pathlib import Path

from streamsvc import __version__
from streamsvc.operations.backup import archive
from streamsvc.operations.backup.archive import BackupError, Manifest, digest_secret_key, format_moment
from streamsvc.operations.backup.dumps import StartProgress, current_store
from streamsvc.settings import Settings


def make_backup(
    settings: Settings, path: Path, service_now: datetime, with_secret_key: bool, start_progress: StartProgress
) -> Manifest:
    """Write a backup of the settings' database, and return its manifest. Raises BackupError.

    `service_now`: the service's time, which the sandbox can move. `with_secret_key`: also write the secret keys, with
    which whoever has the file can read every secret in it.
    """
    store = current_store(settings)
    if not path.parent.is_dir():
        raise BackupError(f"the folder {path.parent} does not exist")
    with (
        archive.write_atomically(path) as file,
        zipfile.ZipFile(file, "w") as target,
        store.dump(path.parent, start_progress) as dump,
    ):
        dump_bytes, sha256 = archive.add_dump(target, store.name, dump.chunks)
        manifest = Manifest(
            database=store.name,
            revision=dump.revision,
            version=__version__,
            taken_at=format_moment(dump.taken_at),
            service_time=format_moment(service_now),
            rows=dump.rows,
            dump_bytes=dump_bytes,
            sha256=sha256,
            key_digest=digest_secret_key(settings.secret_key[0]),
        )
        archive.add_manifest(target, manifest)
        if with_secret_key:
            archive.add_text(target, archive.SECRET_KEY, ",".join(settings.secret_key) + "\n")
    return manifest
