"""The api-keys commands."""

import click
from flask.cli import with_appcontext

from streamsvc.logs import name_in_log
from streamsvc.operations.accounts.api_keys import create_api_key_from_token
from streamsvc.rules.roles import SCOPES
from streamsvc.rules.sign_in.sessions import API_KEY_PREFIX, new_token
from streamsvc.storage.database import db


@click.command("log-name")
@click.argument("principal_id", metavar="ID")
@with_appcontext
def log_name(principal_id: str) -> None:
    """Print the name under which the log mentions an account or an operator: ID is acc_…, opr_… or key_…."""
    click.echo(name_in_log(principal_id))


@click.group("api-keys")
def api_keys() -> None:
    """Manage API keys of operators and front ends."""


@api_keys.command("create")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    type=click.Choice(SCOPES),
    help="Scope of the key; may be repeated.",
)
@click.option("--name", required=True, help="Who or what will use the key.")
@with_appcontext
def create_key(scopes: tuple[str, ...], name: str) -> None:
    """Create an API key and print its id and token.

    The token is printed last on the line, and only this once: only its hash is stored.
    """
    token = new_token(API_KEY_PREFIX)
    key_id = create_api_key_from_token(name, list(scopes), token, expires_at=None).id
    db.session.commit()
    click.echo(f"API key {name!r} {key_id} ({', '.join(scopes)}): {token}")
