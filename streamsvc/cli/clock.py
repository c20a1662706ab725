"""The clock command."""

import click
from flask.cli import with_appcontext

from streamsvc.operations.maintenance import clock_check
from streamsvc.storage.database import db, format_utc
from streamsvc.worker.restore_hold import refresh_restore_hold


@click.group()
def clock() -> None:
    """Check and confirm the machine's clock."""


@clock.command("confirm")
@click.option("--reason", required=True, help="Why it was not trusted, for the audit log.")
@click.option("--yes", is_flag=True, help="Do not ask whether the time is right.")
@with_appcontext
def confirm(reason: str, yes: bool) -> None:
    """Confirm that this machine's clock is right.

    Do this after `/readyz` or `streamsvc doctor` reports that the clock is not trusted, and you have made sure that it
    is right. All processes of the service whose clocks agree go on charging and deleting within seconds. Refused if the
    clock differs from the database's by more than an hour.
    """
    if not yes:
        click.confirm(
            f"This machine's clock shows {format_utc(clock_check.read_machine_clock())}. Is that right?", abort=True
        )
    try:
        confirmed = clock_check.confirm_clock(reason)
    except ValueError as error:
        raise click.ClickException(f"{error}. Correct whichever is wrong first.") from None
    db.session.commit()
    click.echo(f"The clock is confirmed: {format_utc(confirmed)}")


def require_trusted_clock() -> None:
    """Check the clock, and that a restore is reconciled, before a command that charges or deletes.

    Raises ClickException.
    """
    if hold := refresh_restore_hold():
        raise click.ClickException(f"{hold}. Run `streamsvc billing reconcile`.")
    if doubt := clock_check.check_clock():
        raise click.ClickException(f"{doubt}. Correct it, or confirm it with `streamsvc clock confirm`.")
