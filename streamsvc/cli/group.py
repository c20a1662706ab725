"""The commands of `streamsvc`. They are also available from `flask`."""

import sys
from importlib import import_module

import click
from flask.cli import FlaskGroup
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DatabaseError, OperationalError

from streamsvc.cli.command_app import create_command_app
from streamsvc.settings import PREFIX, Settings, SettingsError

FILE_ERRORS = ("SQLITE_NOTADB", "SQLITE_CANTOPEN", "SQLITE_READONLY")
UNDEFINED = ("42P01", "42703")
"""PostgreSQL's codes for an undefined table or column."""
COMMANDS = {
    "api-keys": "streamsvc.cli.accounts:api_keys",
    "backup": "streamsvc.cli.backup:backup",
    "billing": "streamsvc.cli.billing:billing",
    "breached-passwords": "streamsvc.cli.passwords:breached_passwords",
    "catalog": "streamsvc.cli.catalog:catalog",
    "check": "streamsvc.cli.check:check",
    "clock": "streamsvc.cli.clock:clock",
    "config": "streamsvc.cli.config:config",
    "db": "flask_migrate.cli:db",
    "demo": "streamsvc.cli.demo:demo",
    "doctor": "streamsvc.cli.doctor:doctor",
    "init": "streamsvc.cli.init:init",
    "jobs": "streamsvc.cli.jobs:jobs",
    "log-name": "streamsvc.cli.accounts:log_name",
    "operators": "streamsvc.cli.operators:operators",
    "restore": "streamsvc.cli.backup:restore",
    "serve": "streamsvc.cli.serving:serve",
    "sessions": "streamsvc.cli.sessions:sessions",
    "worker": "streamsvc.cli.serving:worker",
}


class CommandGroup(FlaskGroup):
    """Imports a command when it is called: most need a part of the package only, and start sooner without the rest."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, attribute = COMMANDS[name].split(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command


@click.group(
    cls=CommandGroup,
    create_app=create_command_app,
    add_default_commands=False,
    add_version_option=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="streamsvc")
def group() -> None:
    """The back end of a video-streaming service: sessions, catalog, subscriptions, playback."""


group.params = [option for option in group.params if option.name == "version"]  # Flask's own options would only confuse


def main() -> None:
    """Run a command. A settings or database error is reported in one sentence, without a traceback."""
    try:
        group()
    except SettingsError as error:
        sys.exit(f"streamsvc cannot start: {error}")
    except DatabaseError as error:
        if explanation := _explain_file_error(error):
            sys.exit(f"streamsvc cannot start: {explanation}")
        reason = str(error.orig).partition("\n")[0]
        if _is_schema_missing(error):
            sys.exit(f"streamsvc: database error: {reason}; run `streamsvc db upgrade` first")
        if not isinstance(error, OperationalError):
            raise
        sys.exit(f"streamsvc: database error: {error.orig}")


def _is_schema_missing(error: DatabaseError) -> bool:
    """Whether a table or a column is missing: the database was never upgraded, or not since an earlier release."""
    is_missing_in_file = str(error.orig).startswith(("no such table", "no such column"))
    return is_missing_in_file or getattr(error.orig, "sqlstate", None) in UNDEFINED


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
