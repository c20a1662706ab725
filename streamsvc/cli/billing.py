"""billing run, billing audit, billing import."""

from pathlib import Path

import click
import sqlalchemy as sa
from flask.cli import with_appcontext

from streamsvc import clock
from streamsvc.cli.progress import progress_bar
from streamsvc.models.subscriptions import Subscription
from streamsvc.operations.billing.books.audit import audit_billing as differences
from streamsvc.operations.billing.subscriptions.importing import import_subscribers
from streamsvc.operations.billing.subscriptions.renewal import process_due_subscription
from streamsvc.storage.database import db, fetch_all

DUE_SUBSCRIPTIONS = sa.select(Subscription.id).where(
    Subscription.due_at <= sa.bindparam("now"), Subscription.parked_at.is_(None)
)


@click.group()
def billing():
    """Invoices and payments."""


@billing.command()
@click.option("--dry-run", is_flag=True, help="Only tell how many subscriptions are due.")
@with_appcontext
def run(dry_run):
    """Renew, charge and end what is due now, without waiting for the worker. Doing it twice does it once."""
    due = [row.id for row in fetch_all(DUE_SUBSCRIPTIONS.order_by(Subscription.due_at), {"now": clock.now()})]
    if dry_run:
        click.echo(f"{len(due)} subscriptions are due (dry run: nothing was done)")
        return
    with progress_bar(len(due), "Billing") as bar:
        for subscription_id in due:
            process_due_subscription(subscription_id, clock.now())
            bar.update(1)
    click.echo(f"{len(due)} subscriptions attended to")


@billing.command()
@with_appcontext
def audit():
    """Recompute every invoice, balance and number from what happened; report and park what differs."""
    found = differences(clock.now())
    db.session.commit()
    for one in found:
        click.echo(f"{one.check}: {one.subject}: expected {one.expected}, found {one.found}")
    click.echo(f"{len(found)} differences")
    if found:
        raise SystemExit(1)


@billing.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("--dry-run", is_flag=True, help="Only tell what would happen.")
@with_appcontext
def import_(file, dry_run):
    """Bring live subscribers along from another system: FILE is NDJSON, a subscriber a line (docs/billing.md).

    Nobody is charged before the day through which they have paid. The same file twice changes nothing. Ends with 1
    where a line was rejected.
    """
    with Path(file).open("rb") as lines:
        length = sum(1 for _ in lines)
    with progress_bar(length, "Importing subscribers") as bar:
        report = import_subscribers(file, clock.now(), dry_run, lambda: bar.update(1))
    counts = ", ".join(f"{report.counts[name]} {name}" for name in ("added", "unchanged", "rejected"))
    click.echo(f"{report.lines} lines: {counts}" + (" (dry run: nothing was changed)" if dry_run else ""))
    for line, external_id, field, code, reason in report.rejections:
        click.echo(f"line {line} {external_id or ''}: {field}: {code}: {reason}", err=True)
    if report.rejections:
        raise SystemExit(1)
