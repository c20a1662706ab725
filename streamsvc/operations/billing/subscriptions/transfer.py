"""A subscription moves to another account: paid days, coupons and anchor go along, debts and invoices do not."""

from datetime import datetime

from streamsvc.models import Account
from streamsvc.models.subscriptions import Invoice, Subscription
from streamsvc.operations.billing.core import notices
from streamsvc.operations.billing.core.aggregate import SubscriptionAggregate, load_locked, subscription_payload
from streamsvc.operations.billing.invoices import review
from streamsvc.operations.outbox.webhooks import publish_event
from streamsvc.rules.billing import facts as fact
from streamsvc.rules.refusals.billing import AlreadySubscribed, WrongState
from streamsvc.rules.refusals.requests import Invalid
from streamsvc.storage.database import db, lock_row

TRANSFERABLE_STATUSES = ("trialing", "active", "paused")


def transfer_subscription(subscription_id: str, to_account_id: str, now: datetime, actor: str) -> Subscription:
    """Bill it to the other account from now on; in the caller's unit of work.

    Days that are paid stay paid; should they ever be credited, the new account has the credit. What was invoiced stays
    with the old account. Raises Invalid, AlreadySubscribed, WrongState.
    """
    owner = db.session.get(Subscription, subscription_id).account_id
    for account_id in sorted({owner, to_account_id}):
        lock_row(Account, account_id)
    at, heir = load_locked(subscription_id, now), db.session.get(Account, to_account_id)
    if heir is None or heir.status != "active" or heir.id == at.account.id:
        raise Invalid(errors={"account_id": ["Give another account that is active."]})
    if Subscription.live_of(heir.id):
        raise AlreadySubscribed(detail="That account has a live subscription.")
    require_transferable(at)
    at.record_event(fact.Transferred, at.account.id, heir.id, actor=actor)
    notices.enqueue_transfer_notices(at, heir)
    row, at.account = at.subscription, heir
    row.account_id, row.payment_method_id = heir.id, None
    db.session.flush()
    at.save_projection()
    publish_event("subscription.changed", heir.id, now, **subscription_payload(row))
    return row


def require_transferable(aggregate: SubscriptionAggregate) -> None:
    """Refuse while something is owed or being paid: whose debt that is must not become a question."""
    owed = [one for one in Invoice.open_of(aggregate.account.id) if one.subscription_id == aggregate.subscription.id]
    owed += review.list_drafts(aggregate, include_held=True)
    if owed or aggregate.subscription.status not in TRANSFERABLE_STATUSES or aggregate.subscription.parked_at:
        raise WrongState(detail="Only a subscription that is in good standing and owes nothing can move.")
