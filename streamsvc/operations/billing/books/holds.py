"""Whose books do not agree is parked: not billed on until the cause is mended and somebody takes it out."""

from datetime import datetime

from streamsvc.models import Account
from streamsvc.models.subscriptions import Subscription
from streamsvc.operations.billing.books import checks
from streamsvc.operations.billing.books.checks import Difference
from streamsvc.operations.billing.core import charging
from streamsvc.operations.billing.core.aggregate import DUE_JOB, load_locked
from streamsvc.rules.billing.access import LIVE
from streamsvc.rules.refusals.billing import DoesNotAddUp, WrongState
from streamsvc.storage.database import lock_row
from streamsvc.worker import jobs

SELF_CORRECTING_CHECKS = (checks.LINE_INVOICED_ON_TIME, checks.ROW_MATCHES_HISTORY)
"""Mended by whoever attends to the subscription next."""


def audit_account(account_id: str, now: datetime) -> list[Difference]:
    """What differs about an account, seen under its lock. Parks what it is about: the subscription itself, or where
    only the money differs, the live one."""
    lock_row(Account, account_id)
    money = list(checks.check_books(account_id))
    found = list(money)
    for row, differences in checks.check_subscriptions(now, account_id):
        found += differences
        own = [one for one in differences if one.check != checks.LINE_INVOICED_ON_TIME]
        reasons = own or (money if row.status in LIVE else [])
        if reasons and row.parked_at is None:
            row.parked_at, row.parked_reason = now, str(reasons[0])[:500]
    return found


def release_billing_hold(subscription_id: str, now: datetime) -> Subscription:
    """Bill it on; the worker does at once what fell due meanwhile.

    Raises WrongState, and DoesNotAddUp while something still differs.
    """
    at = load_locked(subscription_id, now)
    row = at.subscription
    if row.parked_at is None:
        raise WrongState(detail="The subscription is not parked.")
    lives = [one for other, found in checks.check_subscriptions(now, row.account_id) if other is row for one in found]
    left = [*checks.check_books(row.account_id), *(one for one in lives if one.check not in SELF_CORRECTING_CHECKS)]
    if left:
        raise DoesNotAddUp(differences=[_difference_view(one) for one in left])
    row.parked_at = row.parked_reason = None
    if at.timeline.ended_on:  # it was canceled meanwhile: what that gives back pays what is owed
        at.create_due_invoices("cancellation")
        charging.write_off_ended_subscription(at)
    at.save_projection()
    jobs.enqueue_job(DUE_JOB, {"subscription_id": row.id}, now, f"{row.id} taken out {now.isoformat()}")
    return row


def _difference_view(difference: Difference) -> dict:
    return {name: str(value) for name, value in difference._asdict().items() if name != "account_id"}
