"""The breached-passwords command."""

from importlib.util import find_spec
from pathlib import Path

import click

from streamsvc.cli.progress import progress_bar
from streamsvc.security.breached_passwords import build_filter, count_passwords


@click.command("breached-passwords")
@click.argument("source", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("target", type=click.Path(dir_okay=False, path_type=Path))
def breached_passwords(source: Path, target: Path) -> None:
    """Build a filter of breached passwords.

    SOURCE, plain or .gz, has a password or its SHA-1 per line; the filter is written to TARGET. Set
    STREAMSVC_BREACHED_PASSWORDS=TARGET to reject these passwords too. Needs the extra `breaches`.
    """
    if find_spec("rbloom") is None:
        raise click.ClickException("needs the extra `breaches`: pip install 'streamsvc[breaches]'")
    expected = count_passwords(source)
    with progress_bar(expected, source.name) as bar:
        build_filter(source, target, expected, bar.update)
    size = target.stat().st_size / 2**20
    click.echo(f"{expected:,} passwords in {target} ({size:.1f} MiB); set STREAMSVC_BREACHED_PASSWORDS={target}")
