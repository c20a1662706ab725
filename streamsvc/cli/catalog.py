"""catalog import, catalog export."""

import sys

import click
from flask import current_app
from flask.cli import with_appcontext

from streamsvc.cli.progress import progress
from streamsvc.operations.catalog.exporting import FORMATS
from streamsvc.operations.catalog.importing import READERS, Report, import_file, opened

MOST_SHOWN = 20


@click.group()
def catalog():
    """The catalogue of titles."""


@catalog.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("--dry-run", is_flag=True, help="Only tell what would happen.")
@click.option("--format", "form", type=click.Choice(list(READERS)), default="ndjson", show_default=True)
@with_appcontext
def import_(file, dry_run, form):
    """Import FILE, plain or gzip; NDJSON is a title a line. What is good lands; what is not is told.

    The same file twice changes nothing. Ends with 1 where a line was rejected.
    """
    report = import_with_progress(file, dry_run, form)
    click.echo(summary(report) + (" (dry run: nothing was changed)" if dry_run else ""))
    for line, external_id, flaw in report.rejections[:MOST_SHOWN]:
        click.echo(f"line {line} {external_id or ''}: {flaw.field or 'line'}: {flaw.code}: {flaw.reason}", err=True)
    if len(report.rejections) > MOST_SHOWN:
        click.echo(f"… and {len(report.rejections) - MOST_SHOWN} more", err=True)
    if report.rejected:
        sys.exit(1)


@catalog.command("export")
@click.option("--format", "form", type=click.Choice(list(FORMATS)), default="ndjson", show_default=True)
@with_appcontext
def export(form):
    """Write the catalogue to standard output: the catalogue file, or a feed with the licence windows in it."""
    sys.stdout.writelines(FORMATS[form](current_app.extensions["settings"].public_url))


def import_with_progress(file, dry_run: bool = False, form: str = "ndjson") -> Report:
    """Import a file with a bar on a terminal."""
    with opened(file) as lines:
        length = sum(1 for _ in lines)
    with progress(length, "Importing titles") as bar:
        return import_file(file, on_progress=lambda done: bar.update(done - bar.pos), dry_run=dry_run, form=form)


def summary(report: Report) -> str:
    """One line of counts."""
    counts = ("added", "changed", "unchanged", "rejected")
    return f"{report.lines} lines: " + ", ".join(f"{getattr(report, name)} {name}" for name in counts)
