"""The `streamsvc` command line. Its commands are also available from `flask`."""

import sys

import click
from flask.cli import FlaskGroup
from flask_migrate.cli import db as database_commands
from sqlalchemy.exc import OperationalError

from streamsvc.app import create_app
from streamsvc.cli.accounts import api_keys
from streamsvc.cli.backup import backup, restore
from streamsvc.cli.billing import billing
from streamsvc.cli.catalog import catalog
from streamsvc.cli.clock import clock
from streamsvc.cli.demo import demo
from streamsvc.cli.doctor import doctor
from streamsvc.cli.jobs import jobs
from streamsvc.cli.operators import operators
from streamsvc.cli.passwords import breached_passwords
from streamsvc.cli.serving import config, serve, worker
from streamsvc.cli.sessions import sessions
from streamsvc.settings import SettingsError

COMMANDS = (
    serve,
    worker,
    demo,
    database_commands,
    catalog,
    api_keys,
    operators,
    jobs,
    sessions,
    breached_passwords,
    billing,
    clock,
    doctor,
    backup,
    restore,
    config,
)


@click.group(
    cls=FlaskGroup,
    create_app=create_app,
    add_default_commands=False,
    add_version_option=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="streamsvc")
def group() -> None:
    """The back end of a video-streaming service: sessions, catalog, subscriptions, playback."""


group.params = [option for option in group.params if option.name == "version"]  # Flask's own options would only confuse
for command in COMMANDS:
    group.add_command(command)


def main() -> None:
    """Run a command. A settings or database error is reported in one sentence, without a traceback."""
    try:
        group()
    except SettingsError as error:
        sys.exit(f"streamsvc cannot start: {error}")
    except OperationalError as error:
        sys.exit(f"streamsvc: database error: {error.orig}")
