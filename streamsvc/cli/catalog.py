"""catalog import, catalog export."""

import sys
import zlib
from collections.abc import Sequence

import click
from flask import current_app
from flask.cli import with_appcontext

from streamsvc.cli.progress import progress_bar
from streamsvc.operations.catalog.exporting import EXPORTERS
from streamsvc.operations.catalog.formats import FileTooLarge, iter_lines
from streamsvc.operations.catalog.imports.importing import READERS, CatalogImportReport, import_file, open_file
from streamsvc.worker import gc_tuning

MAX_REPORTED = 20


@click.group()
def catalog():
    """The catalogue of titles."""


@catalog.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("--dry-run", is_flag=True, help="Only tell what would happen.")
@click.option("--format", "form", type=click.Choice(list(READERS)), default="ndjson", show_default=True)
@click.option(
    "--with",
    "others",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False),
    help="Another of IMDb's files: title.ratings, akas, episode, principals, crew or name.basics. May be repeated.",
)
@click.option("--remove-missing", is_flag=True, help="Take out the titles that the file does not name.")
@click.option(
    "--most-removals-percent",
    type=click.IntRange(0, 100),
    default=10,
    show_default=True,
    help="Where more would go, none goes.",
)
@with_appcontext
def import_(file, dry_run, form, others, remove_missing, most_removals_percent):
    """Import FILE, plain or gzip; NDJSON is a title a line. What is good lands; what is not is told.

    The same file twice changes nothing. Ends with 1 where a line was rejected, or nothing removed for safety.
    """
    if others and form != "imdb":
        raise click.UsageError("Only IMDb's files come with others: --format imdb")
    most = most_removals_percent if remove_missing and not dry_run else None
    try:
        report = import_with_progress(file, dry_run, form, most, others)
    except (OSError, EOFError, zlib.error, FileTooLarge) as broken:
        raise click.ClickException(f"The file cannot be read to its end: {broken}") from None
    click.echo(format_summary(report) + (" (dry run: nothing was changed)" if dry_run else ""))
    for rejection in report.rejections[:MAX_REPORTED]:
        flaw = rejection.error
        click.echo(
            f"line {rejection.line} {rejection.external_id or ''}: {flaw.field or 'line'}: {flaw.code}: {flaw.reason}",
            err=True,
        )
    if len(report.rejections) > MAX_REPORTED:
        click.echo(f"… and {len(report.rejections) - MAX_REPORTED} more", err=True)
    if report.not_removed:
        click.echo(report.not_removed, err=True)
    if report.rejected or report.not_removed:
        sys.exit(1)


@catalog.command("export")
@click.option("--format", "form", type=click.Choice(list(EXPORTERS)), default="ndjson", show_default=True)
@with_appcontext
def export(form):
    """Write the catalogue to standard output: the catalogue file, or a feed with the licence windows in it."""
    sys.stdout.writelines(EXPORTERS[form](current_app.extensions["settings"].public_url))


def import_with_progress(
    file,
    dry_run: bool = False,
    file_format: str = "ndjson",
    max_removals_percent: int | None = None,
    other_files: Sequence[str] = (),
) -> CatalogImportReport:
    """Import a file with a bar on a terminal."""
    length = 0
    for one in (file, *other_files):
        with open_file(one) as whole:
            length += sum(1 for _ in iter_lines(whole, sys.maxsize if other_files else None))
    gc_tuning.tune_gc()
    with progress_bar(length, "Importing titles") as bar:
        return import_file(
            file, lambda done: bar.update(done - bar.pos), dry_run, file_format, max_removals_percent, other_files
        )


def format_summary(report: CatalogImportReport) -> str:
    """One line of counts."""
    counts = ("added", "changed", "unchanged", "rejected", *(("removed",) if report.removed else ()))
    return f"{report.lines} lines: " + ", ".join(f"{getattr(report, name)} {name}" for name in counts)
