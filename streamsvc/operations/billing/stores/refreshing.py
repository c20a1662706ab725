"""Jobs that ask the stores: after a notification, when a period ends, and once a day for what was not notified."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import TypeVar

import sqlalchemy as sa

from streamsvc.gateways.stores import find_play_store, find_store
from streamsvc.gateways.stores.interface import PurchaseForgotten, StoreUnavailable
from streamsvc.http.idempotency import unrelated_commits
from streamsvc.models import Account
from streamsvc.models.subscriptions import ProviderEvent, StorePurchase, StoreSubscription
from streamsvc.operations.billing.core.sources import list_live_store_subscriptions
from streamsvc.operations.billing.stores import applying, purchases
from streamsvc.rules.billing.access import LIVE_STATUSES
from streamsvc.rules.refusals.billing import AlreadySubscribed, PurchaseInvalid
from streamsvc.rules.refusals.requests import Unavailable
from streamsvc.rules.stores.state import StorePayment, StoreState
from streamsvc.storage.database import db
from streamsvc.worker import jobs

RETRY_AFTER = timedelta(minutes=1)
STALE_AFTER = timedelta(days=1)
VOIDED_WITHIN = timedelta(days=3)
RECONCILE_BATCH = 500
CURRENT_FOR = timedelta(seconds=10)
"""A state that was fetched within this time is not fetched again before a purchase is refused."""
STORE_UNAVAILABLE = (
    "Two subscriptions of this account were live when the app stores last responded, and one of the stores does not"
    " respond now. Try again shortly, or end one of them before you start a third."
)
Started = TypeVar("Started")


@jobs.job_handler(applying.REFRESH_JOB, jobs.INTERACTIVE_LANE)
def handle_refresh(payload: dict, now: datetime) -> None:
    """Fetch the state of one subscription, and take it over. Raises Retry while the store does not respond."""
    event_id = payload.get("event_id")
    if event_id and db.session.get_one(ProviderEvent, event_id).done_at:
        return
    try:
        refresh(payload["source"], payload["key"], payload.get("with_history", False), now)
    except StoreUnavailable as error:
        db.session.rollback()
        applying.log.warning("%s: %s", payload["source"], error)
        raise jobs.Retry(now + RETRY_AFTER) from None
    if event_id:
        event = db.session.get_one(ProviderEvent, event_id)
        event.done_at, event.reference = now, None  # no purchase token outlives the account that bought


def refresh(
    source: str, key: str, with_history: bool, now: datetime, from_start: bool = False
) -> StoreSubscription | None:
    """Fetch the state of the subscription with this key and take it over, in a transaction that is left open.

    `from_start`: fetch all of the history, not only what may have changed since it was fetched last. Returns None for a
    subscription that belongs to nobody here. Raises StoreUnavailable.
    """
    store = find_store(source)
    if store is None:
        return None
    known = StorePurchase.find_subscription(source, [key])
    payments = applying.list_payment_ids(known.id) if known else set()
    revision = known.history_revision if known and not from_start else None
    key = known.key if known else key
    db.session.rollback()
    try:
        state = store.fetch_state(key, payments, with_history, revision)
    except PurchaseForgotten as error:
        state = applying.ended_state(source, key, error.payments, now)
    if state is None:
        return None
    row = purchases.find_subscription(state)
    if row is None and not _may_be_created(state):
        return None
    row = purchases.lock_with_holder(state, row, None if row else state.account_id)
    if row is None:
        return _create_named(state, now)
    applying.apply_state(db.session.get_one(Account, row.account_id), row, state, now, now)
    return row


def _may_be_created(state: StoreState) -> bool:
    """Whether a purchase that nobody has claimed names an account of ours: its app crashed before it could claim it."""
    is_named = state.account_id is not None and db.session.get(Account, state.account_id) is not None
    return is_named and state.status in LIVE_STATUSES


def refresh_now(row: StoreSubscription, now: datetime) -> None:
    """Fetch the state of a subscription, with all its payments, for an operator who waits. Raises Unavailable."""
    try:
        refresh(row.source, row.key, True, now, from_start=True)
    except StoreUnavailable as error:
        raise Unavailable(detail=f"The store does not respond: {error}.", retry_after_s=30) from None


def retry_after_refresh(account_id: str, now: datetime, start: Callable[[], Started]) -> Started:
    """Return what `start` returns. If live subscriptions of stores leave no room, fetch their states, and retry it.

    The states are committed. Raises what `start` raises; AlreadySubscribed says so if a store does not respond.
    """
    try:
        return start()
    except AlreadySubscribed as refusal:
        if "sources" not in refusal.members:  # a subscription of ours, of which no store knows
            raise
    is_current = _refresh_live_subscriptions(account_id, now)
    try:
        return start()
    except AlreadySubscribed as refusal:
        if is_current:
            raise
        raise AlreadySubscribed(detail=STORE_UNAVAILABLE, **refusal.members) from None


def _refresh_live_subscriptions(account_id: str, now: datetime) -> bool:
    """Fetch the states of an account's live subscriptions, unless they are current. Commits.

    Returns False if a store did not respond: then the last known state stays.
    """
    db.session.rollback()
    return refresh_unless_current(list_live_store_subscriptions(account_id, now), now)


def refresh_unless_current(rows: Iterable[StoreSubscription], now: datetime) -> bool:
    """Fetch the states of subscriptions, unless they are current. Commits each.

    Returns False if a store did not respond: then the last known state stays.
    """
    keys = [(row.source, row.key) for row in rows if now - row.fetched_at >= CURRENT_FOR]
    is_current = True
    with unrelated_commits():
        for source, key in keys:
            try:
                refresh(source, key, False, now)
                db.session.commit()
            except StoreUnavailable as error:
                db.session.rollback()
                applying.log.warning("%s: %s", source, error)
                is_current = False
    return is_current


def _create_named(state: StoreState, now: datetime) -> StoreSubscription | None:
    """Create the subscription of the locked account that its purchase names; None if it could not claim it."""
    account = db.session.get_one(Account, state.account_id)
    if account.status != "active":
        return None
    try:
        purchases.require_granting_environment(state, account.id)
        row = purchases.create_claimed(account, state, now)
    except (PurchaseInvalid, AlreadySubscribed) as refusal:
        applying.log.warning("%s purchase of %s refused: %s", state.source, account.id, refusal.code)
        return None
    applying.apply_state(account, row, state, now, now, is_new_here=True)
    return row


@jobs.recurring_job("store.reconcile", every=timedelta(hours=1))
def enqueue_stale(payload: dict, now: datetime) -> None:
    """Enqueue the fetch of every live subscription whose state is older than a day, with all its payments."""
    stale = StoreSubscription.select_stale(now - STALE_AFTER).order_by(StoreSubscription.fetched_at)
    for row in db.session.scalars(stale.limit(RECONCILE_BATCH)):
        name = f"reconcile {row.id} {now.isoformat()}"
        payload = {"source": row.source, "key": row.key, "with_history": True}
        jobs.enqueue_job(applying.REFRESH_JOB, payload, now, name)


@jobs.recurring_job("store.voided", every=timedelta(days=1))
def enqueue_voided(payload: dict, now: datetime) -> None:
    """Enqueue the fetch of the Google Play purchases that were lately refunded, which may have ended before.

    Raises Retry while Google does not respond.
    """
    store = find_play_store()
    if store is None:
        return
    try:
        tokens = store.list_voided_tokens(now - VOIDED_WITHIN)
    except StoreUnavailable as error:
        applying.log.warning("play_store: %s", error)
        raise jobs.Retry(now + RETRY_AFTER) from None
    for token in sorted(tokens):
        job = {"source": store.source, "key": token, "with_history": True}
        if StorePurchase.find_subscription(store.source, [token]) is not None:
            jobs.enqueue_job(applying.REFRESH_JOB, job, now, f"voided {token} {now.isoformat()}")


@jobs.job_handler(applying.ACKNOWLEDGE_JOB, jobs.INTERACTIVE_LANE)
def handle_acknowledge(payload: dict, now: datetime) -> None:
    """Confirm to the store that a purchase was granted; it refunds what is not confirmed within three days.

    Raises Retry while the store does not respond.
    """
    row = db.session.get(StoreSubscription, payload["subscription_id"])
    if row is None or row.acknowledged or row.status not in LIVE_STATUSES:
        return
    source, key, product_id, row_id = row.source, row.key, row.product_id, row.id
    db.session.rollback()
    try:
        if store := find_store(source):
            store.acknowledge(key, product_id)
    except StoreUnavailable as error:
        applying.log.warning("%s: %s", source, error)
        raise jobs.Retry(now + RETRY_AFTER) from None
    is_same = sa.and_(StoreSubscription.id == row_id, StoreSubscription.key == key)
    db.session.execute(sa.update(StoreSubscription).where(is_same).values(acknowledged=True))


def record_notified_payment(source: str, key: str, payment: StorePayment, now: datetime) -> None:
    """Record the payment that a notification is about, such as the refund of an older one."""
    row = StorePurchase.find_subscription(source, [key])
    if row is not None and row.environment == "production":
        applying.record_payments(row, [payment], now)
