"""The steps of the restore command and of `backup verify`, with what they print."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import flask_migrate
import sqlalchemy as sa

from streamsvc import clock
from streamsvc.app import MIGRATIONS, create_app
from streamsvc.operations.backup.archive import BackupError, Manifest, digest_secret_key, open_archive, read_dump
from streamsvc.operations.backup.dumps import Store, current_store, is_in_use
from streamsvc.operations.backup.restoring import RestoreReport, carry_over_sandbox_journal, secure_restored_database
from streamsvc.operations.backup.tombstones import Tombstones, load_tombstones, read_tombstones
from streamsvc.operations.maintenance.doctor import books, findings
from streamsvc.operations.maintenance.health import is_schema_current, list_revisions
from streamsvc.settings import Settings
from streamsvc.storage.database import db, format_utc

DRY_RUN = "Nothing was changed. Do it with --yes."
NEXT_STEPS = """Next: start the service. It charges and refunds nobody until you have listed what happened since at the
payment provider, with `streamsvc billing reconcile`, and released the hold."""


@contextmanager
def report_errors() -> Iterator[None]:
    """Report a failed backup or restore in one sentence."""
    try:
        yield
    except BackupError as error:
        raise click.ClickException(str(error)) from None


def describe_manifest(manifest: Manifest) -> str:
    size = f"{manifest.dump_bytes / 1024**2:,.1f} MiB of {manifest.database}"
    rows = f"{manifest.total_rows:,} rows in {len(manifest.rows)} tables"
    return f"{rows}, {size} at revision {manifest.revision}, as of {manifest.taken_at}, sha256 {manifest.sha256}"


def verify_archive(settings: Settings, path: Path, full: bool) -> int:
    """Restore a backup into a scratch database, and print the results of its checks; returns the exit code."""
    with TemporaryDirectory() as folder, _restored(settings, path, Path(folder)) as (manifest, _):
        results = list(findings.run_checks(full, books))
        click.echo(f"{path}: {describe_manifest(manifest)}")
        _warn_about_key(settings, manifest)
        _print_findings(results)
    return max(findings.EXIT_CODES[result.status] for result in results)


def restore_archive(
    settings: Settings,
    path: Path,
    tombstone_files: Sequence[Path],
    *,
    yes: bool,
    replace: bool,
    other_secret_key: bool,
) -> None:
    """Restore a backup beside the settings' database, make it safe to serve, and let it take its place."""
    store = current_store(settings)
    tombstones = [load_tombstones(file) for file in tombstone_files]
    former = _count_former_rows(store)
    is_replacing = former is None or is_in_use(former)
    if is_replacing and not replace and yes:
        raise BackupError("the database is in use; it is replaced, and kept under another name, only with --replace")
    with _restored(settings, path) as (manifest, url):
        click.echo(f"{path}: {describe_manifest(manifest)}")
        if not _warn_about_key(settings, manifest) and yes and not other_secret_key:
            raise BackupError("nothing was restored; set the right key, or go on with --other-secret-key")
        _print_findings([result for result in findings.run_checks(False, books) if result.status != findings.OK])
        now = clock.now()
        with _connect_former(settings) if former and is_replacing else nullcontext() as source:
            tombstones += _read_former(source, manifest, now)
            if source is not None and settings.payment_provider == "sandbox":
                carry_over_sandbox_journal(source)
        report = secure_restored_database(manifest.taken, manifest.service_taken, tombstones, now)
        _print_report(report)
        rows = "not read" if former is None else f"{sum(former.values()):,} rows"
        click.echo(f"former database: {rows}")
        if not yes:
            click.echo(DRY_RUN)
            return
        _dispose_engines()
        kept = store.replace(url, clock.wall_time())
    click.echo(f"restored; the former database is kept as {kept}" if kept else "restored")
    click.echo(NEXT_STEPS)


def secure_in_place(settings: Settings, as_of: datetime, tombstone_files: Sequence[Path], *, yes: bool) -> None:
    """Make a database safe to serve that was restored by other means as of a moment."""
    tombstones = [load_tombstones(file) for file in tombstone_files]
    if as_of > clock.wall_time():
        raise BackupError(f"{format_utc(as_of)} is in the future; --as-of is the time up to which it was restored")
    if missing := settings.find_missing_file():
        raise BackupError(f"{missing} does not exist or is empty")
    with create_app(settings).app_context():
        if not is_schema_current():
            raise BackupError("the schema is older than the code; run `streamsvc db upgrade` first")
        if not yes:
            click.echo(f"restored as of {format_utc(as_of)}, with {len(tombstones)} files of tombstones\n{DRY_RUN}")
            return
        _print_report(secure_restored_database(as_of, as_of, tombstones, clock.now()))
        click.echo(NEXT_STEPS)


@contextmanager
def _restored(settings: Settings, path: Path, folder: Path | None = None) -> Iterator[tuple[Manifest, str]]:
    """Restore into a scratch database, check and migrate it; yields manifest and URL, in the context of an app on it.

    Raises BackupError.
    """
    store = current_store(settings)
    with open_archive(path) as (archive, manifest):
        _require_restorable(manifest, store)
        with store.create_scratch(folder) as url:
            store.load(url, read_dump(archive, manifest, path))
            _require_rows(manifest, store.count_rows(url))
            app = create_app(settings.replace(database_url=url))
            with app.app_context():
                try:
                    flask_migrate.upgrade()
                    yield manifest, url
                finally:
                    _dispose_engines()


def _require_restorable(manifest: Manifest, store: Store) -> None:
    if manifest.database != store.name:
        raise BackupError(f"it is a backup of {manifest.database}, and STREAMSVC_DATABASE_URL names {store.name}")
    known = list_revisions(str(MIGRATIONS))
    if manifest.revision not in known:
        raise BackupError(
            f"its schema {manifest.revision} is not one of this release, whose newest is {known[0]}; restore it with"
            f" the release that made it ({manifest.version}), or a newer one"
        )


def _require_rows(manifest: Manifest, rows: dict[str, int]) -> None:
    names = sorted(name for name in manifest.rows.keys() | rows if manifest.rows.get(name) != rows.get(name))
    if names:
        first = names[0]
        counts = f"{rows.get(first, 'none')} instead of {manifest.rows.get(first, 'none')}"
        raise BackupError(f"it is damaged: {len(names)} tables have other rows than its manifest, {first} {counts}")


def _warn_about_key(settings: Settings, manifest: Manifest) -> bool:
    """Whether the backup was made with a secret key of the settings; prints a warning if not."""
    if manifest.key_digest in map(digest_secret_key, settings.secret_key):
        return True
    click.echo(
        "warning: it was made with another secret key than STREAMSVC_SECRET_KEY: authenticators, operators' codes and"
        " webhook secrets cannot be decrypted",
        err=True,
    )
    return False


def _count_former_rows(store: Store) -> dict[str, int] | None:
    """Count the rows of the database that is to be replaced; None if it cannot be read."""
    try:
        return store.count_rows()
    except BackupError as error:
        if store.name == "postgresql":
            raise
        click.echo(f"warning: {error}", err=True)
        return None


@contextmanager
def _connect_former(settings: Settings) -> Iterator[sa.Connection]:
    url = settings.database_url.replace("postgresql:", "postgresql+psycopg:")
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def _read_former(source: sa.Connection | None, manifest: Manifest, now: datetime) -> list[Tombstones]:
    """Read the tombstones of the database that is replaced; none, with a warning, if it cannot be read."""
    if source is None:
        return []
    try:
        return [read_tombstones(source, manifest.service_taken, now)]
    except sa.exc.SQLAlchemyError as error:
        reason = str(getattr(error, "orig", error)).strip().splitlines()[0]
        click.echo(f"warning: the former database cannot be read: {reason}", err=True)
        return []


def _dispose_engines() -> None:
    db.session.remove()
    for engine in db.engines.values():
        engine.dispose()


def _print_findings(results: Sequence[findings.CheckResult]) -> None:
    for result in results:
        click.echo(f"{result.status.ljust(8)} {result.check}: {result.message}")


def _print_report(report: RestoreReport) -> None:
    click.echo(f"sessions: {report.sessions:,} end, and all of operators")
    for what, ids in (
        ("accounts erased again", report.erased),
        ("accounts closed again", report.closed),
        ("accounts disabled again", report.disabled),
        ("passwords revoked, to be reset", report.passwords),
        ("operators without access, to be reset", report.operators),
        ("API keys revoked", report.api_keys),
        ("subscriptions on billing hold", report.held),
    ):
        click.echo(f"{what}: {len(ids):,}" + "".join(f"\n  {key}" for key in ids))
    click.echo(f"passkeys, identities and recovery codes removed: {report.factors:,}")
    for sentence in report.open:
        click.echo(f"open: {sentence}")
