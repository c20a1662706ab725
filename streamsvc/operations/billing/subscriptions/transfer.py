"""Transfer of a subscription to another account, with its paid days, coupons, and anchor day, but not its invoices."""

from datetime import datetime

from streamsvc import clock
from streamsvc.models import Account
from streamsvc.models.subscriptions import Invoice, Subscription
from streamsvc.operations.billing.core import debts, notices, price_changes, sources
from streamsvc.operations.billing.core.aggregate import SubscriptionAggregate, load_locked, subscription_payload
from streamsvc.operations.billing.invoices import review
from streamsvc.operations.outbox.webhooks import publish_event
from streamsvc.rules.billing import facts as fact
from streamsvc.rules.refusals.billing import AlreadySubscribed, WrongState
from streamsvc.rules.refusals.requests import Invalid
from streamsvc.storage.database import db, lock_row

TRANSFERABLE_STATUSES = ("trialing", "active", "paused")


def transfer_subscription(subscription_id: str, to_account_id: str, now: datetime, actor: str) -> Subscription:
    """Bill the subscription to another account from now on, in the caller's transaction.

    Paid days stay paid; if they are ever credited, the new account gets the credit. Past invoices stay with the old
    account. Raises Invalid, AlreadySubscribed, WrongState.
    """
    owner_id = db.session.get_one(Subscription, subscription_id).account_id
    for account_id in sorted({owner_id, to_account_id}):
        lock_row(Account, account_id)
    aggregate, new_owner = load_locked(subscription_id, now), db.session.get(Account, to_account_id)
    if new_owner is None or new_owner.status != "active" or new_owner.id == aggregate.account.id:
        raise Invalid(errors={"account_id": ["Must be another account that is active."]})
    if clock.account_now(new_owner.id, clock.service_now()) != aggregate.now:
        raise WrongState(detail="The sandbox clocks of the two accounts differ; move them to the same time.")
    if Subscription.find_live(new_owner.id):
        raise AlreadySubscribed(detail="That account already has a live subscription.")
    sources.require_room(new_owner, now)
    require_transferable(aggregate)
    if debts.find_overdue_since(new_owner.id):
        raise WrongState(detail="That account has an overdue invoice, which is to be paid first.")
    aggregate.record_event(fact.Transferred, aggregate.account.id, new_owner.id, actor=actor)
    notices.enqueue_transfer_notices(aggregate, new_owner)
    subscription, aggregate.account = aggregate.subscription, new_owner
    subscription.account_id, subscription.payment_method_id = new_owner.id, None
    subscription.announced_prices = []  # the new owner has to be notified
    price_changes.schedule_open_migrations(aggregate)
    db.session.flush()
    aggregate.save_projection()
    publish_event("subscription.changed", new_owner.id, now, **subscription_payload(subscription))
    return subscription


def require_transferable(aggregate: SubscriptionAggregate) -> None:
    """Raise WrongState while something is owed or being paid, so that it stays clear whose debt it is."""
    unpaid = [
        invoice
        for invoice in Invoice.list_open(aggregate.account.id)
        if invoice.subscription_id == aggregate.subscription.id
    ]
    unpaid += debts.list_overdue(Invoice.list_open(aggregate.account.id))
    unpaid += review.list_drafts(aggregate, include_held=True)
    if unpaid or aggregate.subscription.status not in TRANSFERABLE_STATUSES or aggregate.subscription.billing_held_at:
        raise WrongState(detail="Only a subscription that is in good standing and owes nothing can be transferred.")
