"""The commands of `streamsvc`. They are also available from `flask`."""

import sys

import click
from flask.cli import FlaskGroup
from flask_migrate.cli import db as database_commands
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DatabaseError, OperationalError

from streamsvc.cli.accounts import api_keys, log_name
from streamsvc.cli.backup import backup, restore
from streamsvc.cli.billing import billing
from streamsvc.cli.catalog import catalog
from streamsvc.cli.check import check
from streamsvc.cli.clock import clock
from streamsvc.cli.command_app import create_command_app
from streamsvc.cli.demo import demo
from streamsvc.cli.doctor import doctor
from streamsvc.cli.init import init
from streamsvc.cli.jobs import jobs
from streamsvc.cli.operators import operators
from streamsvc.cli.passwords import breached_passwords
from streamsvc.cli.serving import config, serve, worker
from streamsvc.cli.sessions import sessions
from streamsvc.settings import PREFIX, Settings, SettingsError

FILE_ERRORS = ("SQLITE_NOTADB", "SQLITE_CANTOPEN", "SQLITE_READONLY")
COMMANDS = (
    serve,
    worker,
    demo,
    database_commands,
    catalog,
    api_keys,
    operators,
    log_name,
    jobs,
    sessions,
    breached_passwords,
    billing,
    clock,
    check,
    doctor,
    backup,
    restore,
    init,
    config,
)


@click.group(
    cls=FlaskGroup,
    create_app=create_command_app,
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
    except DatabaseError as error:
        if explanation := _explain_file_error(error):
            sys.exit(f"streamsvc cannot start: {explanation}")
        if not isinstance(error, OperationalError):
            raise
        sys.exit(f"streamsvc: database error: {error.orig}")


def _explain_file_error(error: DatabaseError) -> str | None:
    """Return what is wrong with SQLite's file, in a sentence; None if that is not the error."""
    name = getattr(error.orig, "sqlite_errorname", "")
    if not name.startswith(FILE_ERRORS):
        return None
    path = make_url(Settings.from_env(creates_secret=False).database_url).database
    if name == "SQLITE_NOTADB":
        return f"{PREFIX}DATABASE_URL: {path} is not an SQLite database; name another file, or move this one away"
    reason = f"{path} cannot be written ({error.orig}); give the file and its folder to this user"
    return f"{PREFIX}DATABASE_URL: {reason}, or choose another {PREFIX}DATA_DIR"
