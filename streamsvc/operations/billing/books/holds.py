"""Billing holds: a subscription whose books do not reconcile is not billed until it is fixed and released."""

from datetime import datetime

from streamsvc.models import Account
from streamsvc.models.subscriptions import Subscription
from streamsvc.operations.billing.books import checks
from streamsvc.operations.billing.books.checks import Difference
from streamsvc.operations.billing.core.aggregate import DUE_JOB, load_locked
from streamsvc.rules.billing.access import LIVE_STATUSES
from streamsvc.rules.refusals.billing import DoesNotAddUp, WrongState
from streamsvc.storage.database import lock_row
from streamsvc.worker import jobs

IGNORED_AT_RELEASE = (checks.LINE_INVOICED_ON_TIME, checks.ROW_MATCHES_HISTORY, checks.ACCESS_IS_PAID_FOR)
"""Differences that the next processing of the subscription corrects, and those that cause no hold."""
CHECKS_WITHOUT_HOLD = (checks.LINE_INVOICED_ON_TIME, checks.ACCESS_IS_PAID_FOR)


def audit_account(account_id: str, now: datetime) -> list[Difference]:
    """Check an account under its lock, return the differences, and place billing holds.

    The hold is placed on the subscription that differs or, if only the account's ledger differs, on the live one.
    """
    lock_row(Account, account_id)
    book_differences = list(checks.check_books(account_id))
    all_differences = list(book_differences)
    for row, differences in checks.check_subscriptions(now, account_id):
        all_differences += differences
        own_differences = [difference for difference in differences if difference.check not in CHECKS_WITHOUT_HOLD]
        reasons = own_differences or (book_differences if row.status in LIVE_STATUSES else [])
        if reasons and row.billing_held_at is None:
            row.billing_held_at, row.billing_hold_reason = now, str(reasons[0])[:500]
    return all_differences


def place_billing_hold(subscription_id: str, reason: str, now: datetime) -> Subscription:
    """Place a live subscription on billing hold, by an operator's decision. Raises WrongState."""
    subscription = load_locked(subscription_id, now).subscription
    if subscription.billing_held_at is not None or subscription.status not in LIVE_STATUSES:
        raise WrongState(detail="The subscription is on billing hold already, or has ended.")
    subscription.billing_held_at, subscription.billing_hold_reason = now, reason
    return subscription


def release_billing_hold(subscription_id: str, now: datetime) -> Subscription:
    """Release the billing hold. The worker then processes at once what fell due in the meantime.

    Raises WrongState, and DoesNotAddUp while a difference remains.
    """
    aggregate = load_locked(subscription_id, now)
    subscription = aggregate.subscription
    if subscription.billing_held_at is None:
        raise WrongState(detail="The subscription is not on billing hold.")
    subscription_differences = [
        difference
        for checked, differences in checks.check_subscriptions(now, subscription.account_id)
        if checked is subscription
        for difference in differences
    ]
    remaining = [
        *checks.check_books(subscription.account_id),
        *(difference for difference in subscription_differences if difference.check not in IGNORED_AT_RELEASE),
    ]
    if remaining:
        raise DoesNotAddUp(differences=[_difference_view(difference) for difference in remaining])
    subscription.billing_held_at = subscription.billing_hold_reason = None
    if aggregate.timeline.ended_on:  # canceled while on hold: credit from the cancellation pays what is owed
        aggregate.create_due_invoices("cancellation")
    aggregate.save_projection()
    jobs.enqueue_job(
        DUE_JOB, {"subscription_id": subscription.id}, now, f"{subscription.id} released {now.isoformat()}"
    )
    return subscription


def _difference_view(difference: Difference) -> dict:
    return {name: str(value) for name, value in difference._asdict().items() if name != "account_id"}
