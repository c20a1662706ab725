"""The config command."""

import os

import click

from streamsvc.settings import Settings, describe_settings, select_known


@click.command()
def config() -> None:
    """Print all settings with their current values.

    Secrets are masked. An unknown setting is an error once all others have been printed.
    """
    rows = describe_settings(Settings.from_env(select_known(os.environ)))
    width = max(len(name) for name, *_ in rows)
    for name, value, description in rows:
        click.echo(f"{click.style(name.ljust(width), bold=True)}  {value}\n{' ' * width}  {description}")
    Settings.from_env()
