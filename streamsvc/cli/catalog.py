"""The catalog commands: import, export."""

import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

import click
from flask.cli import with_appcontext

from streamsvc.cli.progress import progress_bar
from streamsvc.operations.catalog.exporting import EXPORTERS
from streamsvc.operations.catalog.formats import FileTooLarge, iter_lines
from streamsvc.operations.catalog.imports.importing import (
    LIVE_FORMATS,
    READERS,
    CatalogImportReport,
    import_file,
    open_file,
)
from streamsvc.settings import current_settings
from streamsvc.worker import gc_tuning

MAX_REPORTED = 20


@click.group()
def catalog() -> None:
    """Import and export the catalogue."""


@catalog.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("--dry-run", is_flag=True, help="Only print what would happen.")
@click.option(
    "--format",
    "file_format",
    type=click.Choice(list(READERS)),
    default="ndjson",
    show_default=True,
    help="Format of the file.",
)
@click.option(
    "--with",
    "other_files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False),
    help="Another IMDb file: title.ratings, akas, episode, principals, crew or name.basics. May be repeated.",
)
@click.option("--remove-missing", is_flag=True, help="Remove the titles that are not in the file.")
@click.option(
    "--max-removals-percent",
    "--most-removals-percent",  # its former name
    "max_removals_percent",
    type=click.IntRange(0, 100),
    default=10,
    show_default=True,
    help="Abort the removals if more than this percentage of titles would be removed.",
)
@with_appcontext
def import_catalog(
    file: str,
    dry_run: bool,
    file_format: str,
    other_files: tuple[str, ...],
    remove_missing: bool,
    max_removals_percent: int | None,
) -> None:
    """Import titles from FILE, plain or gzip.

    NDJSON has one title per line. Valid entries are imported; rejected ones are reported. Importing the same file again
    changes nothing. Exits with 1 if a line was rejected, or if the removals were aborted.
    """
    if other_files and file_format != "imdb":
        raise click.UsageError("--with requires --format imdb")
    if remove_missing and file_format in LIVE_FORMATS:
        raise click.UsageError(f"--remove-missing is not possible with --format {file_format}, which has no titles")
    if dry_run or not remove_missing:
        max_removals_percent = None
    try:
        report = import_with_progress(file, dry_run, file_format, max_removals_percent, other_files)
    except (OSError, EOFError, zlib.error, FileTooLarge) as error:
        raise click.ClickException(f"The file cannot be read: {error}") from None
    click.echo(format_summary(report) + (" (dry run: nothing was changed)" if dry_run else ""))
    for rejection in report.rejections[:MAX_REPORTED]:
        title, cause = rejection.external_id or "", rejection.error
        click.echo(f"line {rejection.line} {title}: {cause.field or 'line'}: {cause.code}: {cause.reason}", err=True)
    if len(report.rejections) > MAX_REPORTED:
        click.echo(f"… and {len(report.rejections) - MAX_REPORTED} more", err=True)
    if report.not_removed:
        click.echo(report.not_removed, err=True)
    if report.shared_media_folders:
        click.echo(
            f"{report.shared_media_folders} manifests lie in a folder with another item's, so a playback token opens "
            "only the files named after them; the coverage report lists their titles as shared_media_folder.",
            err=True,
        )
    if report.rejected or report.not_removed:
        sys.exit(1)


@catalog.command("export")
@click.option(
    "--format",
    "file_format",
    type=click.Choice(list(EXPORTERS)),
    default="ndjson",
    show_default=True,
    help="Format of the output.",
)
@with_appcontext
def export_catalog(file_format: str) -> None:
    """Write the catalogue to standard output.

    The output is a catalogue file, or a feed that includes licence windows.
    """
    sys.stdout.writelines(EXPORTERS[file_format](current_settings().public_url))


def import_with_progress(
    file: Path | str,
    dry_run: bool = False,
    file_format: str = "ndjson",
    max_removals_percent: int | None = None,
    other_files: Sequence[str] = (),
) -> CatalogImportReport:
    """Import a file, with a progress bar on a terminal."""
    line_count = 0
    for path in [file, *other_files]:
        with open_file(path) as file_object:
            line_count += sum(1 for _ in iter_lines(file_object, sys.maxsize if other_files else None))
    gc_tuning.tune_gc()
    with progress_bar(line_count, "Importing titles") as bar:
        return import_file(
            file, lambda done: bar.update(done - bar.pos), dry_run, file_format, max_removals_percent, other_files
        )


def format_summary(report: CatalogImportReport) -> str:
    """The import's counts on one line."""
    counts = ("added", "changed", "unchanged", "rejected", *(("removed",) if report.removed else ()))
    return f"{report.lines} lines: " + ", ".join(f"{getattr(report, name)} {name}" for name in counts)
