"""Subscribers of `bench.simulate` who also subscribe in an app store: none of it may reach the books.

The states are those that a store's API would have returned; they are taken over as the jobs take them over.
"""

from dataclasses import replace
from datetime import timedelta

import sqlalchemy as sa

from streamsvc.models import Account
from streamsvc.models.subscriptions import StoreSubscription, StoreTransaction
from streamsvc.operations.billing.core.sources import require_room
from streamsvc.operations.billing.stores import applying, purchases
from streamsvc.rules.billing.access import LIVE_STATUSES
from streamsvc.rules.refusals.base import Refusal
from streamsvc.rules.stores.state import StorePayment, StoreState
from streamsvc.storage.database import db, lock_existing_row, new_id

EVENTS = ("renew", "renew", "renew", "cancel", "hold", "refund")
PRODUCT, AMOUNT_MINOR, PERIOD = "simulated", 1299, timedelta(days=30)


def apply_store_event(account_id, rng, now) -> None:
    """Let an account subscribe in a store, or let something happen to the subscription that it has there."""
    account = lock_existing_row(Account, account_id)
    try:
        live = [row for row in StoreSubscription.list_of_account(account_id) if row.status in LIVE_STATUSES]
        if not live:
            require_room(account, now)
            state = paid_period(rng.choice(("app_store", "play_store")), new_id("key"), now)
            row = purchases.create_claimed(account, state, now)
        else:
            [row] = live
            state = next_state(row, rng.choice(EVENTS), now)
        applying.apply_state(account, row, state, now, now)
        db.session.commit()
    except Refusal:
        db.session.rollback()
    finally:
        db.session.remove()


def paid_period(source, key, now) -> StoreState:
    """The state of a subscription that was just paid."""
    payment = StorePayment(new_id("pay"), PRODUCT, "USD", AMOUNT_MINOR, now)
    state = StoreState(source, "production", key, PRODUCT, "active", "active", True, started_at=now, period_start=now)
    return replace(state, period_end=now + PERIOD, renews=True, payments=(payment,), current_payment_id=payment.id)


def next_state(row, event, now) -> StoreState:
    """The state of a subscription after an event."""
    state = replace(paid_period(row.source, row.key, now), started_at=row.started_at)
    if event == "renew":
        return state
    if event == "refund":
        refunded = replace(state.payments[0], refunded_at=now, refunded_minor=AMOUNT_MINOR)
        ended = replace(state, status="canceled", store_state="revoked", has_access=False, renews=False)
        return replace(ended, payments=(refunded,), cancel_reason="refunded", canceled_at=now)
    unpaid = replace(state, payments=(), current_payment_id=None, period_start=row.period_start)
    unpaid = replace(unpaid, period_end=row.period_end)
    if event == "cancel":
        return replace(unpaid, status="canceled", store_state="expired", has_access=False, renews=False)
    return replace(unpaid, status="past_due", store_state="billing_retry", has_access=False)


def describe_stores() -> str:
    """How many subscriptions and payments the stores have, in one line."""
    tables = (StoreSubscription, StoreTransaction)
    subscriptions, payments = (db.session.scalar(sa.select(sa.func.count()).select_from(each)) for each in tables)
    return f"App stores: {subscriptions} subscriptions and {payments} payments, none of them in the books"
