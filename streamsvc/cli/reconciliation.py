"""The command `billing reconcile`."""

from datetime import datetime, timedelta

import click
import sqlalchemy as sa
from flask.cli import with_appcontext

from streamsvc import clock
from streamsvc.cli.backup import parse_as_of
from streamsvc.gateways.payments.interface import ProviderUnavailable
from streamsvc.models import Restore
from streamsvc.operations.billing.payments.reconciliation import Discrepancy, list_discrepancies
from streamsvc.operations.outbox import audit
from streamsvc.storage.database import db, fetch_one, format_utc

OVERLAP = timedelta(hours=1)
"""How much earlier than the backup the provider's journal is read, since its clock may differ."""
UNAVAILABLE = "the payment provider cannot be reached, or refuses the request; nobody is charged until it was asked"


@click.command("reconcile")
@click.option("--since", callback=parse_as_of, help="Default: an hour before the backup that was restored.")
@click.option("--book", "is_booking", is_flag=True, help="Book what can be booked.")
@click.option("--release", metavar="REASON", help="Release the hold on charging; the reason is for the audit log.")
@with_appcontext
def reconcile(since: datetime | None, is_booking: bool, release: str | None) -> None:
    """List what the payment provider did since the backup that was restored.

    Charges and refunds that the books do not have, and payments with another outcome. With --book, outcomes and refunds
    are booked, and charges whose payment is lost become account credit, so that nobody pays twice. What is left must be
    corrected at the provider. Nobody is charged or refunded until --release. Exits with 1 while something is left.
    """
    now, row = clock.now(), fetch_one(Restore.select_open())
    taken_at: datetime | None = row[0] if row else None
    since = since or (taken_at and taken_at - OVERLAP)
    if since is None:
        click.echo("no restore waits for reconciliation")
        return
    found = find_discrepancies(since, now)
    print_discrepancies(found, since)
    if is_booking and any(discrepancy.book for discrepancy in found):
        book_discrepancies(found)
        found = find_discrepancies(since, now)
        click.echo("after booking:")
        print_discrepancies(found, since)
    if release is not None:
        release_hold(release, [d for d in found if d.book], [d for d in found if not d.book], now)
    elif found:
        raise SystemExit(1)


def find_discrepancies(since: datetime, now: datetime) -> list[Discrepancy]:
    """Find what differs. Raises ClickException while the provider is unavailable."""
    try:
        return list_discrepancies(since, now)
    except ProviderUnavailable:
        raise click.ClickException(UNAVAILABLE) from None


def print_discrepancies(found: list[Discrepancy], since: datetime) -> None:
    for discrepancy in found:
        amount = f"{discrepancy.amount_minor} {discrepancy.currency}"
        click.echo(f"{discrepancy.subject} {amount} {discrepancy.account_id or 'unknown account'}: {discrepancy.what}")
    click.echo(f"{len(found)} differences since {format_utc(since)}")


def book_discrepancies(found: list[Discrepancy]) -> None:
    """Book one after another; what fails is reported, and does not stop the others."""
    for discrepancy in found:
        if discrepancy.book:
            try:
                discrepancy.book()
            except Exception as error:
                db.session.rollback()
                click.echo(f"{discrepancy.subject} could not be booked: {error!r}", err=True)


def release_hold(reason: str, unbooked: list[Discrepancy], left: list[Discrepancy], now: datetime) -> None:
    """Release the hold on charging. Raises ClickException while something can be booked."""
    if not reason.strip():
        raise click.ClickException("give a reason: --release REASON")
    if unbooked:
        raise click.ClickException(f"{len(unbooked)} differences are not booked; do it with --book")
    db.session.execute(sa.update(Restore).where(Restore.reconciled_at.is_(None)).values(reconciled_at=now))
    audit.record_event("restore_reconciled", reason=reason, left=[discrepancy.subject for discrepancy in left])
    db.session.commit()
    click.echo("released: all processes go on charging within seconds")
