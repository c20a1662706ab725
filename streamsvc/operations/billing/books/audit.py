"""The billing audit: recomputes everything from the event history and compares it with what is stored.

A subscription with a difference is reported and placed on billing hold: it is not billed until it is released. What
breaks a rule of billing (rule_checks.py) is only reported.
"""

from datetime import datetime, timedelta

import sqlalchemy as sa

from streamsvc.models.subscriptions import Invoice, Subscription
from streamsvc.operations.billing.books import checks, holds, rule_checks
from streamsvc.operations.billing.books.checks import Difference
from streamsvc.operations.billing.core import aggregate, debts
from streamsvc.operations.sandbox import is_clock_moving
from streamsvc.storage.database import db
from streamsvc.worker import jobs

STALLED_AFTER = timedelta(hours=1)


def audit_billing(now: datetime) -> list[Difference]:
    """Return all differences (there should be none) and place billing holds on what differs. Commits.

    A difference found during concurrent writes may be transient, so it is checked again under its account's lock.
    """
    suspects = list(checks.check_books())
    suspects += [difference for _, differences in checks.check_subscriptions(now) for difference in differences]
    suspects += rule_checks.check_rules(now)
    db.session.commit()
    confirmed = list(checks.check_numbers())
    for account_id in sorted({difference.account_id for difference in suspects if difference.account_id}):
        confirmed += holds.audit_account(account_id, now)
        confirmed += rule_checks.check_rules(now, account_id)
        db.session.commit()
    return confirmed


@jobs.recurring_job("billing.audit", timedelta(days=1))
def handle_daily_audit(payload: dict, now: datetime) -> None:
    """Audit the books daily, log the differences, and enqueue stalled subscriptions and debts.

    Skipped while the sandbox clock moves, instead of running for each day that it skips.
    """
    if is_clock_moving():
        return
    for difference in audit_billing(now):
        jobs.log.error("billing audit: %s", difference)
    for subscription_id in list_stalled_subscriptions(now):
        jobs.enqueue_job(
            aggregate.DUE_JOB, {"subscription_id": subscription_id}, now, f"{subscription_id} left behind {now:%F}"
        )

    for account_id in list_accounts_with_stalled_debts(now):
        jobs.enqueue_job(debts.COLLECT_JOB, {"account_id": account_id}, now, f"{account_id} left behind {now:%F}")


def list_accounts_with_stalled_debts(now: datetime) -> list[str]:
    """List the accounts with an open invoice whose next step is missing, or late because its job was given up."""
    yesterday = (now - timedelta(days=1)).date()
    closed_before = yesterday - timedelta(days=debts.current_dunning_schedule().cancel_day)
    is_stalled = sa.or_(
        Invoice.next_attempt_on < yesterday,
        Invoice.first_failed_on < closed_before,
        sa.and_(Invoice.first_failed_on.is_(None), Invoice.issued_at < now - STALLED_AFTER),
    )
    open_invoices = sa.select(Invoice).where(Invoice.status == sa.literal_column("'open'"), is_stalled)
    invoices = debts.list_collectable(db.session.scalars(open_invoices.order_by(Invoice.id)))
    return sorted({invoice.account_id for invoice in invoices})


def list_stalled_subscriptions(now: datetime) -> list[str]:
    """List the subscriptions that are long overdue for processing because their job was given up."""
    statement = sa.select(Subscription.id).where(
        Subscription.due_at < now - STALLED_AFTER, Subscription.billing_held_at.is_(None)
    )
    return list(db.session.scalars(statement.order_by(Subscription.due_at)))
