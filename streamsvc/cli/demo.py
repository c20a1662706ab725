"""The demo commands: demo, demo seed."""

import os
import socket
import sys

import click
import flask_migrate
from flask.cli import with_appcontext

from streamsvc import clock
from streamsvc.cli.catalog import format_summary, import_with_progress
from streamsvc.cli.serving import serve
from streamsvc.operations.maintenance import demo as operation
from streamsvc.settings import PREFIX, Settings, current_settings

WELCOME = """
streamsvc is running on {url}  (storefront; documentation: {url}/docs; Ctrl-C to stop)

  viewer    {email}  {password}
  operator  {key}

  curl -s {url}/v1/sessions -H 'Content-Type: application/json' -d '{{"email":"{email}","password":"{password}"}}'
  curl -s '{url}/v1/catalog/search?q=spider+man&limit=3' -H 'Authorization: Bearer {key}'
  curl -s '{url}/v1/plans?country=DE&currency=EUR'
"""


@click.group(invoke_without_command=True)
@click.pass_context
def demo(context: click.Context) -> None:
    """Migrate, seed and serve a demo in the sandbox.

    It has a real catalogue, a few plans, a viewer and an operator.
    """
    for name in ("SANDBOX", "STOREFRONT"):
        os.environ.setdefault(PREFIX + name, "1")
    if context.invoked_subcommand is None:
        settings = Settings.from_env()
        os.environ.setdefault(f"{PREFIX}PUBLIC_URL", _own_url(settings))
        _require_free_port(settings)
        context.invoke(migrate_database)
        context.invoke(seed_demo)
        context.invoke(print_welcome)
        context.invoke(serve)


def _own_url(settings: Settings) -> str:
    """Return the URL at which a browser on this machine reaches the demo."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)
    return f"http://{host}:{settings.port}"


def _require_free_port(settings: Settings) -> None:
    """Raise ClickException if the port is in use."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError:
            address = f"{settings.host}:{settings.port}"
            raise click.ClickException(f"{address} is in use; choose another port, such as {PREFIX}PORT=8001") from None


@click.command()
@with_appcontext
def migrate_database() -> None:
    """Apply all migrations."""
    flask_migrate.upgrade()


@demo.command("seed")
@with_appcontext
def seed_demo() -> None:
    """Create the demo's titles, plans, viewer and operator.

    Seeding again changes nothing.
    """
    report = import_with_progress(operation.CATALOG)
    operation.seed_accounts_and_plans(clock.now())
    click.echo("Demo catalogue: " + format_summary(report))
    if report.rejected:
        sys.exit(1)


@click.command()
@with_appcontext
def print_welcome() -> None:
    """Print the demo's address, credentials and some requests to try."""
    settings = current_settings()
    credentials = {
        "email": operation.EMAIL,
        "password": operation.demo_password(),
        "key": operation.demo_operator_token(),
    }
    click.echo(WELCOME.format(url=settings.public_url, **credentials))
