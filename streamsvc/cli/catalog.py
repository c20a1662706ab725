"""The catalog commands: import, export."""

import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from zipfile import BadZipFile

import click
from flask.cli import with_appcontext

from streamsvc.cli.progress import progress_bar
from streamsvc.operations.catalog.exporting import EXPORTERS
from streamsvc.operations.catalog.formats import FileTooLarge, ReadOptions
from streamsvc.operations.catalog.formats.columns import UnknownTarget, parse_mapping
from streamsvc.operations.catalog.imports import local_files
from streamsvc.operations.catalog.imports.importing import CatalogImportReport
from streamsvc.operations.catalog.imports.reading import (
    FORMATS,
    LIVE_FORMATS,
    NO_OPTIONS,
    explain_unrecognized_format,
)
from streamsvc.schemas.admin.catalog import IMPORT_ENCODINGS
from streamsvc.settings import current_settings
from streamsvc.worker import gc_tuning

MAX_REPORTED = 20


@click.group()
def catalog() -> None:
    """Import and export the catalogue."""


@catalog.command("import")
@click.argument("file", type=click.Path(exists=True))
@click.option("--dry-run", is_flag=True, help="Only print what would happen.")
@click.option(
    "--format",
    "file_format",
    type=click.Choice(FORMATS),
    help="Format of the file.  [default: guessed from its content]",
)
@click.option(
    "--map",
    "columns",
    multiple=True,
    metavar="COLUMN=FIELD",
    help="The field that a CSV column is for, such as 'Film Name=title'; `ignore` leaves it out. May be repeated.",
)
@click.option(
    "--encoding",
    type=click.Choice(IMPORT_ENCODINGS),
    metavar="NAME",
    help="Encoding of a CSV file or a playlist, such as windows-1252.  [default: detected]",
)
@click.option(
    "--media-base-url",
    help="The address under which a media server has the folder; paths of media and artwork are appended to it.",
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
    file_format: str | None,
    columns: tuple[str, ...],
    encoding: str | None,
    media_base_url: str | None,
    other_files: tuple[str, ...],
    remove_missing: bool,
    max_removals_percent: int | None,
) -> None:
    """Import titles, people, channels or programmes from FILE, plain or packed, or from a folder of NFO files.

    NDJSON has one title, person or channel per line. Valid entries are imported; rejected ones are reported.
    Importing the same file again changes nothing. Exits with 1 if a line was rejected, or if the removals were
    aborted.
    """
    if dry_run or not remove_missing:
        max_removals_percent = None
    options = _read_options(columns, encoding, media_base_url)
    try:
        report = import_with_progress(file, dry_run, file_format, max_removals_percent, other_files, options)
    except (OSError, EOFError, zlib.error, BadZipFile, FileTooLarge) as error:
        raise click.ClickException(f"The file cannot be read: {error}") from None
    click.echo(format_summary(report) + (" (dry run: nothing was changed)" if dry_run else ""))
    _print_warnings(report)
    _print_rejections(report)
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
    sys.stdout.writelines(EXPORTERS[file_format](current_settings()))


def _print_warnings(report: CatalogImportReport) -> None:
    for warning in report.warnings[:MAX_REPORTED]:
        place = f"{warning['file']}: " if warning["file"] else ""
        times = f" ({warning['count']} times)" if warning["count"] > 1 else ""
        field = f"{warning['field']}: " if warning["field"] else ""
        _print_line(f"warning: {place}line {warning['line']}: {field}{warning['code']}: {warning['reason']}{times}")


def _print_rejections(report: CatalogImportReport) -> None:
    for rejection in report.rejections[:MAX_REPORTED]:
        title, cause = rejection.external_id or "", rejection.error
        place = f"{rejection.file}: " if rejection.file else ""
        _print_line(f"{place}line {rejection.line} {title}: {cause.field or 'line'}: {cause.code}: {cause.reason}")
    if report.errors > MAX_REPORTED:
        click.echo(f"… and {report.errors - MAX_REPORTED} more", err=True)


def _print_line(text: str) -> None:
    """Print text that a file may have chosen; what would control the terminal is replaced."""
    click.echo("".join(c if c.isprintable() else "\ufffd" for c in text), err=True)


def _read_options(columns: tuple[str, ...], encoding: str | None, media_base_url: str | None) -> ReadOptions:
    """Return the options. Raises UsageError."""
    try:
        return ReadOptions(parse_mapping(columns), encoding, media_base_url)
    except UnknownTarget as error:
        raise click.UsageError(f"--map: {error}") from None


def import_with_progress(
    file: Path | str,
    dry_run: bool = False,
    file_format: str | None = local_files.DEFAULT_FORMAT,
    max_removals_percent: int | None = None,
    other_files: Sequence[str] = (),
    options: ReadOptions = NO_OPTIONS,
) -> CatalogImportReport:
    """Import a file, with a progress bar on a terminal."""
    gc_tuning.tune_gc()
    with local_files.open_source(file, file_format, other_files, options) as source:
        if other_files and source.format != "imdb":
            raise click.UsageError("--with requires --format imdb")
        if max_removals_percent is not None and source.format in LIVE_FORMATS:
            raise click.UsageError(f"--remove-missing is not possible with {source.format}, which has no titles")
        if source.is_guess and source.format != local_files.DEFAULT_FORMAT:
            click.echo(f"The file was read as {source.format}; name another --format if that is wrong.", err=True)
        with progress_bar(source.size, "Importing titles") as bar:
            report = local_files.import_source(
                source,
                lambda lines: bar.update(max(0, source.position(lines) - bar.pos)),
                dry_run,
                max_removals_percent,
                options,
            )
        if not source.is_recognized and report.rejected:
            click.echo(explain_unrecognized_format(source.format, "--format"), err=True)
        return report


def format_summary(report: CatalogImportReport) -> str:
    """The import's counts on one line."""
    counts = ("added", "changed", "unchanged", "rejected", *(("removed",) if report.removed else ()))
    return f"{report.lines} lines: " + ", ".join(f"{getattr(report, name)} {name}" for name in counts)
