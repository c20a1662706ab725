"""The sessions command."""

import click
from flask.cli import with_appcontext

from streamsvc import clock
from streamsvc.operations.credentials.sessions import count_live_sessions, end_all_sessions
from streamsvc.storage.database import db


@click.group()
def sessions() -> None:
    """Manage viewers' sessions. Over HTTP, this takes an admin; here, access to the machine."""


@sessions.command("end-all")
@click.option("--reason", required=True, help="Why, for the audit log.")
@click.option("--dry-run", is_flag=True, help="Only count the sessions.")
@with_appcontext
def end_all(reason: str, dry_run: bool) -> None:
    """End every viewer's session of the service.

    All viewers have to sign in again. Operators' own sessions stay.
    """
    count = count_live_sessions(clock.now())
    if dry_run:
        click.echo(f"{count:,} sessions would end")
        return
    end_all_sessions(None, reason, count)
    db.session.commit()
    click.echo(f"{count:,} sessions ended")
