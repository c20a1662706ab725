"""The demo commands: demo, demo seed."""

import os
import sys

import click
import flask_migrate
from flask.cli import with_appcontext

from streamsvc import clock
from streamsvc.cli.catalog import format_summary, import_with_progress
from streamsvc.cli.serving import open_listener, serve
from streamsvc.operations.maintenance import demo as operation
from streamsvc.settings import PREFIX, Settings, current_settings

WELCOME = """
streamsvc is running on {url}  (storefront; documentation: {url}/docs; Ctrl-C to stop)
Sign in there as the viewer and click Play: the titles under "Videos in this demo" are real, if short.

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

    It has a real catalogue, a few short videos, plans, a viewer with a plan, and an operator.
    """
    for name in ("SANDBOX", "STOREFRONT", "FILTER_MANIFESTS"):
        os.environ.setdefault(PREFIX + name, "1")
    if context.invoked_subcommand is None:
        settings = Settings.from_env()
        open_listener(settings.host, settings.port).close()  # before the work, and not after it
        context.invoke(migrate_database)
        context.invoke(seed_demo)
        context.invoke(print_welcome)
        context.invoke(serve)


@click.command()
@with_appcontext
def migrate_database() -> None:
    """Apply all migrations."""
    flask_migrate.upgrade()


@demo.command("seed")
@with_appcontext
def seed_demo() -> None:
    """Create the demo's titles, rows, plans, viewer and operator.

    Seeding again changes nothing. Exits with 1 if the catalogue rejects a line.
    """
    reports = [import_with_progress(catalog) for catalog in operation.CATALOGS]
    now = clock.now()
    operation.seed_rows(now)
    operation.seed_accounts_and_plans(now)
    for name, report in zip(("catalogue", "videos"), reports, strict=True):
        click.echo(f"Demo {name}: {format_summary(report)}")
    if any(report.rejected for report in reports):
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
