"""The billing commands: run, audit, import."""

from datetime import datetime
from pathlib import Path

import click
import sqlalchemy as sa
from flask.cli import with_appcontext

from streamsvc import clock
from streamsvc.cli.clock import require_trusted_clock
from streamsvc.cli.progress import progress_bar
from streamsvc.cli.reconciliation import reconcile
from streamsvc.models.subscriptions import Subscription
from streamsvc.operations.billing.books import rule_checks
from streamsvc.operations.billing.books.audit import audit_billing as find_differences
from streamsvc.operations.billing.books.checks import Difference
from streamsvc.operations.billing.subscriptions.importing import import_subscribers
from streamsvc.operations.billing.subscriptions.renewal import process_together_or_alone
from streamsvc.storage.database import db, fetch_all
from streamsvc.worker import jobs

DUE_SUBSCRIPTIONS = sa.select(Subscription.id).where(
    Subscription.due_at <= sa.bindparam("now"), Subscription.billing_held_at.is_(None)
)


@click.group()
def billing() -> None:
    """Renew, audit, reconcile and import subscriptions."""


billing.add_command(reconcile)


@billing.command("run")
@click.option("--dry-run", is_flag=True, help="Only print how many subscriptions are due.")
@with_appcontext
def run_billing(dry_run: bool) -> None:
    """Process all due subscriptions now.

    This renews, charges and ends them without waiting for the worker. It is safe to run twice.
    """
    due = [row.id for row in fetch_all(DUE_SUBSCRIPTIONS.order_by(Subscription.due_at), {"now": clock.now()})]
    if dry_run:
        click.echo(f"{len(due)} subscriptions are due (dry run: nothing was changed)")
        return
    require_trusted_clock()
    with progress_bar(len(due), "Billing") as bar:
        for first in range(0, len(due), jobs.MAX_BATCH_SIZE):
            batch = due[first : first + jobs.MAX_BATCH_SIZE]
            process_together_or_alone(batch, clock.now())
            bar.update(len(batch))
    click.echo(f"{len(due)} subscriptions processed")


@billing.command("audit")
@click.option("--provider", "with_provider", is_flag=True, help="Also compare recent payments with the provider.")
@with_appcontext
def audit_billing(with_provider: bool) -> None:
    """Audit the books and print the differences.

    Recomputes every invoice, balance and number from the event log, and checks the rules of billing. Subscriptions that
    do not reconcile are placed on billing hold. With --provider, the payments of the last 30 days are looked up at the
    payment provider, one request each. Exits with 1 if there are differences.
    """
    differences = find_differences(clock.now())
    db.session.commit()
    if with_provider:
        differences += compare_with_provider(clock.now())
    for row in differences:
        click.echo(f"{row.check}: {row.subject}: expected {row.expected}, found {row.found}")
    click.echo(f"{len(differences)} differences")
    if differences:
        raise SystemExit(1)


def compare_with_provider(now: datetime) -> list[Difference]:
    """Return the recent payments whose state at the payment provider differs."""
    payments = fetch_all(rule_checks.select_recent_payments(now))
    differences: list[Difference] = []
    with progress_bar(len(payments), "Looking up payments") as bar:
        for payment in payments:
            differences += rule_checks.check_payment_at_provider(payment)
            bar.update(1)
    return differences


@billing.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("--dry-run", is_flag=True, help="Only print what would happen.")
@with_appcontext
def import_billing(file: str, dry_run: bool) -> None:
    """Import active subscribers from another system.

    FILE is NDJSON, one subscriber per line (docs/import-subscribers.md). No subscriber is charged before the day
    through which they have already paid. Importing the same file again changes nothing. Exits with 1 if a line was
    rejected.
    """
    with Path(file).open("rb") as lines:
        line_count = sum(1 for _ in lines)
    with progress_bar(line_count, "Importing subscribers") as bar:
        report = import_subscribers(file, clock.now(), dry_run, lambda: bar.update(1))
    counts = ", ".join(f"{report.counts[name]} {name}" for name in ("added", "unchanged", "rejected"))
    click.echo(f"{report.lines} lines: {counts}" + (" (dry run: nothing was imported)" if dry_run else ""))
    for line, external_id, field, code, reason in report.rejections:
        click.echo(f"line {line} {external_id or ''}: {field}: {code}: {reason}", err=True)
    if report.rejections:
        raise SystemExit(1)
