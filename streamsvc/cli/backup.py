"""The backup and restore commands."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from time import sleep

import click
from flask.cli import with_appcontext

from streamsvc import clock
from streamsvc.cli.paths import PathArgument
from streamsvc.cli.progress import progress_bar
from streamsvc.cli.restoring import describe_manifest, report_errors, restore_archive, secure_in_place, verify_archive
from streamsvc.operations.backup import folder
from streamsvc.operations.backup.archive import Progress
from streamsvc.operations.backup.making import make_backup
from streamsvc.operations.backup.tombstones import read_tombstones, write_tombstones
from streamsvc.setting_parsers import parse_moment
from streamsvc.settings import Settings, SettingsError, current_settings
from streamsvc.storage.database import AUTOCOMMIT_BIND, db

TOMBSTONE_DAYS = 35
FILE = PathArgument(dir_okay=False)


class BackupGroup(click.Group):
    """A group whose first argument is a path, unless it names a command."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in context.help_option_names:
            args = ["create", *args]
        return super().parse_args(context, args)


@click.group(cls=BackupGroup)
def backup() -> None:
    """Back up the database to a file: streamsvc backup PATH.

    The service may be running. `backup create PATH` is the same.
    """


@backup.command("create")
@click.argument("path", type=PathArgument())
@click.option("--with-secret-key", is_flag=True, help="Also write the secret key, which opens all secrets in the file.")
@click.option(
    "--keep-days",
    type=click.IntRange(1, 36_500),
    help="In a folder: delete the backups that were made earlier than that.",
)
@click.option(
    "--every-hours", type=click.IntRange(1, 8_760), help="In a folder: go on, and make another one that often."
)
@with_appcontext
def create_backup(path: Path, with_secret_key: bool, keep_days: int | None, every_hours: int | None) -> None:
    """Back up the database to PATH: a file that must not exist, or a folder.

    The file is complete or absent, and only its owner can read it. The settings and the secret key are not in it. In a
    folder its name has the time in UTC: streamsvc-20260115T020000Z.backup. Exits with 1 if there is no backup, or an
    expired one cannot be deleted.
    """
    if not path.is_dir():
        if keep_days or every_hours:
            raise click.UsageError(f"--keep-days and --every-hours need a folder, and {path} is none.")
        _create_file(path, with_secret_key)
        return
    while True:
        _create_file(folder.next_path(path, clock.wall_time()), with_secret_key)
        is_tidy = not keep_days or _delete_expired(path, timedelta(days=keep_days))
        if not every_hours:
            sys.exit(not is_tidy)
        db.session.remove()
        sleep(timedelta(hours=every_hours).total_seconds())


def _create_file(path: Path, with_secret_key: bool) -> None:
    with report_errors():
        manifest = make_backup(current_settings(), path, clock.now(), with_secret_key, start_progress)
    click.echo(f"{path}: {describe_manifest(manifest)}")
    if with_secret_key:
        click.echo("It contains the secret key: whoever has it can read every secret in it.", err=True)


def _delete_expired(path: Path, keep: timedelta) -> bool:
    """Delete the expired backups in a folder; return whether all of them are gone."""
    is_tidy = True
    for expired in folder.list_expired(path, clock.wall_time(), keep):
        try:
            expired.unlink(missing_ok=True)
            click.echo(f"{expired}: deleted, since it is older than {keep.days} days")
        except OSError as error:
            click.echo(f"{expired}: is older than {keep.days} days and cannot be deleted: {error.strerror}", err=True)
            is_tidy = False
    return is_tidy


@contextmanager
def start_progress(length: int, label: str) -> Iterator[Progress]:
    with progress_bar(length, label) as bar:
        yield bar.update


@backup.command("verify")
@click.argument("path", type=FILE)
@click.option("--quick", is_flag=True, help="Do not audit all books and the whole audit log.")
def verify_backup(path: Path, quick: bool) -> None:
    """Restore PATH into a scratch database, and check it there.

    Checks the checksum, the number of rows, the database's own integrity, the migrations to this release, and the
    invariants of `streamsvc doctor`. Changes nothing else. Exits with 0 if all is well, 1 if there are warnings, 2 if
    there are errors.
    """
    with report_errors():
        sys.exit(verify_archive(read_settings(), path, full=not quick))


@backup.command("tombstones")
@click.argument("path", type=FILE)
@with_appcontext
def create_tombstones(path: Path) -> None:
    """Write to PATH what an older backup must not bring back.

    Ids of deleted accounts, revoked API keys, changed credentials and canceled subscriptions; a small file without
    personal data, which replaces an older one. Keep it on another machine, and give it to `streamsvc restore`.
    """
    now = clock.now()
    with report_errors(), db.engines[AUTOCOMMIT_BIND].connect() as connection:
        found = read_tombstones(connection, now - timedelta(days=TOMBSTONE_DAYS), now)
        write_tombstones(path, found)
    click.echo(
        f"{path}: {len(found.erased) + len(found.closed):,} deleted accounts, and changes of {TOMBSTONE_DAYS} days"
    )


def parse_as_of(context: click.Context, parameter: click.Parameter, value: str | None) -> datetime | None:
    try:
        return parse_moment(value) if value else None
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command()
@click.argument("path", type=FILE, required=False)
@click.option("--yes", is_flag=True, help="Do it; without this, nothing is changed.")
@click.option("--replace", is_flag=True, help="Replace a database that is in use; it is kept under another name.")
@click.option("--tombstones", type=FILE, multiple=True, help="A file of `streamsvc backup tombstones`.")
@click.option("--other-secret-key", is_flag=True, help="Go on although the backup was made with another secret key.")
@click.option("--in-place", is_flag=True, help="The database was already restored by other means, such as Litestream.")
@click.option("--as-of", callback=parse_as_of, help="With --in-place: the time as of which it was restored.")
def restore(
    path: Path | None,
    yes: bool,
    replace: bool,
    tombstones: tuple[Path, ...],
    other_secret_key: bool,
    in_place: bool,
    as_of: datetime | None,
) -> None:
    """Restore the database from PATH, a file of `streamsvc backup`.

    Stop the service first. Without --yes, the backup is restored into a scratch database, checked, and what would be
    done is printed. All sessions end, what was deleted or revoked since stays so where that is known, and nobody is
    charged until `streamsvc billing reconcile --release`.
    """
    if in_place == (path is not None) or in_place != (as_of is not None):
        raise click.UsageError("Give either PATH, or --in-place with --as-of.")
    with report_errors():
        settings = read_settings()
        if path:
            restore_archive(settings, path, tombstones, yes=yes, replace=replace, other_secret_key=other_secret_key)
        elif as_of:
            secure_in_place(settings, as_of, tombstones, yes=yes)


def read_settings() -> Settings:
    """Read the settings. Raises ClickException."""
    try:
        return Settings.from_env(creates_secret=False)
    except SettingsError as error:
        raise click.ClickException(str(error)) from None
