"""The app in which commands run."""

import click
from flask import Flask

from streamsvc.settings import PREFIX, Settings, SettingsError

CREATORS = {"db", "demo"}
"""The commands that may create SQLite's file."""


def create_command_app() -> Flask:
    """Create the app of the current command. Raises SettingsError, also if SQLite's file is missing.

    A mistyped path is an error, and leaves neither a folder nor an empty database behind.
    """
    context: click.Context | None = click.get_current_context()
    names = set()
    while context is not None and context.parent is not None:
        names.add(context.info_name)
        context = context.parent
    settings = Settings.from_env()
    if names and not names & CREATORS and (missing := settings.find_missing_file()):
        raise SettingsError(
            f"{PREFIX}DATABASE_URL: {missing} does not exist or is empty; correct the path, or create the database "
            "with `streamsvc db upgrade`"
        )
    from streamsvc.app import create_app  # late, so that a wrong setting is reported at once

    return create_app(settings, has_endpoints=False)
