"""Everything recomputed from what happened, and compared with what is written: the books must agree with themselves.

A difference parks the subscription: it is reported and never billed on until somebody looked.
"""

from datetime import datetime, timedelta

import sqlalchemy as sa

from streamsvc.models.subscriptions import Subscription
from streamsvc.operations.billing.books import checks, holds
from streamsvc.operations.billing.books.checks import Difference
from streamsvc.operations.billing.core import aggregate
from streamsvc.operations.sandbox import is_clock_moving
from streamsvc.storage.database import db
from streamsvc.worker import jobs

STALLED_AFTER = timedelta(hours=1)


def audit_billing(now: datetime) -> list[Difference]:
    """Every difference there is; none is the only good answer. Parks what differs. Commits.

    What is found while others write may be half of what they did: it is looked at again under the account's lock.
    """
    suspects = list(checks.check_books())
    suspects += [one for _, differences in checks.check_subscriptions(now) for one in differences]
    db.session.commit()
    found = list(checks.check_numbers())
    for account_id in sorted({one.account_id for one in suspects}):
        found += holds.audit_account(account_id, now)
        db.session.commit()
    return found


@jobs.recurring_job("billing.audit", timedelta(days=1))
def handle_daily_audit(payload: dict, now: datetime) -> None:
    """Once a day; differences go to the log, and park what they are about. Not for each day the sandbox skips."""
    if is_clock_moving():
        return
    for difference in audit_billing(now):
        jobs.log.error("billing audit: %s", difference)
    for subscription_id in list_stalled_subscriptions(now):
        jobs.enqueue_job(
            aggregate.DUE_JOB, {"subscription_id": subscription_id}, now, f"{subscription_id} left behind {now:%F}"
        )


def list_stalled_subscriptions(now: datetime) -> list[str]:
    """Subscriptions that were due long ago: their job was given up, and is taken up again."""
    late = sa.select(Subscription.id).where(Subscription.due_at < now - STALLED_AFTER, Subscription.parked_at.is_(None))
    return list(db.session.scalars(late.order_by(Subscription.due_at)))
