"""Whose books do not agree is parked: not billed on until the cause is mended and somebody takes it out."""

from datetime import datetime

from streamsvc.models import Account
from streamsvc.models.subscriptions import Subscription
from streamsvc.operations.billing.books import checks
from streamsvc.operations.billing.books.checks import Difference
from streamsvc.operations.billing.core import charging
from streamsvc.operations.billing.core.aggregate import JOB, stand
from streamsvc.rules.billing.access import LIVE
from streamsvc.rules.refusals.billing import DoesNotAddUp, WrongState
from streamsvc.storage.database import lock
from streamsvc.worker import jobs

HARMLESS = (checks.LATE, checks.SHOWN)
"""Mended by whoever attends to the subscription next."""


def examine(account_id: str, now: datetime) -> list[Difference]:
    """What differs about an account, seen under its lock. Parks what it is about: the subscription itself, or where
    only the money differs, the live one."""
    lock(Account, account_id)
    money = list(checks.books(account_id))
    found = list(money)
    for row, differences in checks.lives(now, account_id):
        found += differences
        own = [one for one in differences if one.check != checks.LATE]
        reasons = own or (money if row.status in LIVE else [])
        if reasons and row.parked_at is None:
            row.parked_at, row.parked_reason = now, str(reasons[0])[:500]
    return found


def take_out(subscription_id: str, now: datetime) -> Subscription:
    """Bill it on; the worker does at once what fell due meanwhile.

    Raises WrongState, and DoesNotAddUp while something still differs.
    """
    at = stand(subscription_id, now)
    row = at.subscription
    if row.parked_at is None:
        raise WrongState(detail="The subscription is not parked.")
    lives = [one for other, found in checks.lives(now, row.account_id) if other is row for one in found]
    left = [*checks.books(row.account_id), *(one for one in lives if one.check not in HARMLESS)]
    if left:
        raise DoesNotAddUp(differences=[_told(one) for one in left])
    row.parked_at = row.parked_reason = None
    if at.timeline.ended_on:  # it was canceled meanwhile: what that gives back pays what is owed
        at.bill("cancellation")
        charging.write_off(at)
    at.show()
    jobs.enqueue(JOB, {"subscription_id": row.id}, now, f"{row.id} taken out {now.isoformat()}")
    return row


def _told(difference: Difference) -> dict:
    return {name: str(value) for name, value in difference._asdict().items() if name != "account_id"}
