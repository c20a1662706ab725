"""api-keys."""

import click
from flask.cli import with_appcontext

from streamsvc.operations.api_keys import create_api_key
from streamsvc.rules.roles import SCOPES


@click.group("api-keys")
def api_keys():
    """Keys for operators and front ends."""


@api_keys.command()
@click.option("--scope", "scopes", multiple=True, required=True, type=click.Choice(SCOPES), help="May be repeated.")
@click.option("--name", required=True, help="Who or what will use it.")
@with_appcontext
def create(scopes, name):
    """Make a key and print it, as the last word. It is shown this once: only its hash is kept."""
    click.echo(f"API key {name!r} ({', '.join(scopes)}): {create_api_key(name, list(scopes))}")
