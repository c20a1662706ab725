"""Takes over the state of a store's subscription: its row, what the account may watch, and what the store was paid."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import sqlalchemy as sa

from streamsvc.models import Account
from streamsvc.models.subscriptions import Plan, StoreProduct, StorePurchase, StoreSubscription, StoreTransaction
from streamsvc.operations.outbox.webhooks import publish_event
from streamsvc.rules.billing.access import LIVE_STATUSES
from streamsvc.rules.billing.calendar import civil_day
from streamsvc.rules.stores.sources import StoreAccess
from streamsvc.rules.stores.state import FIRST_YEAR, StorePayment, StoreState
from streamsvc.storage.database import db, format_utc, insert, new_id
from streamsvc.storage.unit_of_work import with_defaults
from streamsvc.worker import jobs

REFRESH_JOB, ACKNOWLEDGE_JOB = "store.refresh", "store.acknowledge"
FORGOTTEN_AFTER = timedelta(days=60)
"""For how long Google Play knows a subscription after its end."""
BRIDGEABLE = timedelta(days=2)
"""For how long the end of a subscription is remembered: longer than any day that one of ours may have to wait for."""
TAKEN_OVER = (
    *("source", "environment", "key", "product_id", "base_plan_id", "status", "store_state", "access_until"),
    *("started_at", "period_start", "period_end", "renews", "renewal_product_id", "resumes_at", "canceled_at"),
    *("cancel_reason", "offer", "family_shared", "price_consent", "acknowledged"),
)
log = logging.getLogger("streamsvc.stores")


def create_store_subscription(
    account: Account, state: StoreState, plan_id: str, fetched_at: datetime, now: datetime
) -> StoreSubscription:
    """Create the subscription of a locked account. Raises IntegrityError on flush if another request was faster."""
    row = with_defaults(StoreSubscription(id=new_id("sub"), account_id=account.id, plan_id=plan_id, created_at=now))
    row.had_trial, row.fetched_at = False, fetched_at
    for name in TAKEN_OVER:
        setattr(row, name, getattr(state, name))
    db.session.add(row)
    db.session.flush()
    db.session.add(StorePurchase(source=state.source, key=state.key, subscription_id=row.id, created_at=now))
    db.session.flush()
    return row


def apply_state(
    account: Account,
    row: StoreSubscription,
    state: StoreState,
    fetched_at: datetime,
    now: datetime,
    is_new_here: bool = False,
) -> None:
    """Take over a state, unless a later one is known already. The account is locked; nothing is committed.

    A product that is mapped to no plan changes nothing of the plan. `is_new_here`: the account has just got the
    subscription, so that an event is published whatever its state was.
    """
    before = _public_state(row)
    _record_payments(row, state, fetched_at)
    if fetched_at >= row.fetched_at:
        payment = db.session.get(
            StoreTransaction, (state.source, state.current_payment_id or ""), populate_existing=True
        )
        state, former_key = _without_refunded_access(state, payment), row.key
        for name in TAKEN_OVER:
            setattr(row, name, getattr(state, name))
        row.period_start = state.period_start or (payment.purchased_at if payment else state.started_at)
        row.fetched_at, row.had_trial = fetched_at, row.had_trial or state.is_trial
        row.history_revision = state.history_revision or row.history_revision
        plan_id = StoreProduct.find_plan_id(state.source, state.product_id, state.base_plan_id)
        if plan_id is None:
            log.warning("%s product %s buys no plan; map it by PUT /v1/admin/plans", state.source, state.product_id)
        row.plan_id = plan_id or row.plan_id
        if state.key != former_key or state.replaced_keys:
            _record_keys(row, state, now)
        _enqueue_next(row, state, now)
    db.session.flush()
    project_store_access(account)
    if is_new_here or _public_state(row) != before:
        publish_change(account, row, now)


def ended_state(source: str, key: str, payments: tuple[StorePayment, ...], now: datetime) -> StoreState | None:
    """Return the state of a live subscription that ended at least `FORGOTTEN_AFTER` ago, which is all the store says.

    None if no live one is known by the key.
    """
    row = StorePurchase.find_subscription(source, [key])
    if row is None or row.status not in LIVE_STATUSES:
        return None
    end = min(row.period_end or now, now - FORGOTTEN_AFTER)
    known = {name: getattr(row, name) for name in TAKEN_OVER if name != "access_until"}
    ended = {"status": "canceled", "store_state": "expired", "has_access": False, "renews": False, "period_end": end}
    return StoreState(**known | ended | {"canceled_at": row.canceled_at or end, "payments": payments})


def publish_change(account: Account, row: StoreSubscription, now: datetime) -> None:
    """Publish the state of the account's subscription to the webhook endpoints."""
    publish_event("subscription.changed", account.id, now, **store_subscription_payload(row, account.time_zone))


def project_store_access(account: Account) -> None:
    """Write what the subscriptions of app stores grant to the account's row, which is locked."""
    rows = StoreSubscription.list_of_account(account.id)
    counted = [row for row in rows if row.status in LIVE_STATUSES or can_be_bridged(row, row.fetched_at)]
    live = [_access_of(row, account.time_zone) for row in counted]
    if (account.store_access or []) != live:
        account.store_access = [dict(access) for access in live] or None
    db.session.flush()


def can_be_bridged(row: StoreSubscription, now: datetime) -> bool:
    """Whether a subscription ended so lately, and paid to its end, that one of ours may continue it without a gap."""
    is_paid = row.status == "canceled" and row.store_state == "expired" and row.cancel_reason != "refunded"
    return is_paid and row.period_end is not None and now < row.period_end + BRIDGEABLE


def _access_of(row: StoreSubscription, time_zone: str) -> StoreAccess:
    ends = (row.period_start, row.period_end)
    period = [civil_day(moment, time_zone).isoformat() if moment else None for moment in ends]
    return {
        "id": row.id,
        "source": row.source,
        "status": row.status,
        "plan": db.session.get_one(Plan, row.plan_id).code,
        "until": format_utc(row.access_until if row.status in LIVE_STATUSES else row.period_end),
        "renews": row.renews,
        "period": period,
    }


def _without_refunded_access(state: StoreState, payment: StoreTransaction | None) -> StoreState:
    """Return the state without access if the payment for the current period was refunded in full."""
    if payment is None or payment.refunded_at is None or payment.refunded_minor < payment.amount_minor:
        return state
    if state.has_access:
        state = replace(state, status="canceled", has_access=False, renews=False, canceled_at=payment.refunded_at)
    return replace(state, cancel_reason="refunded") if state.status == "canceled" else state


def _record_keys(row: StoreSubscription, state: StoreState, now: datetime) -> None:
    keys = (state.key, *state.replaced_keys)
    values = [{"source": state.source, "key": key, "subscription_id": row.id, "created_at": now} for key in keys]
    statement = insert(StorePurchase.__table__).on_conflict_do_nothing(index_elements=["source", "key"])
    db.session.execute(statement, values)


def _enqueue_next(row: StoreSubscription, state: StoreState, now: datetime) -> None:
    """Enqueue the fetch at the next moment at which the store's state changes, and the acknowledgement.

    It fetches all payments, also those of which no notification has come; Google numbers them, so that none is missed.
    """
    next_at = state.next_fetch_at(now)
    if next_at is None and can_be_bridged(row, now):
        next_at = now + BRIDGEABLE
    if next_at:
        name = f"store {row.id} {next_at.isoformat()}"
        payload = {"source": row.source, "key": row.key, "with_history": row.source == "app_store"}
        jobs.enqueue_job(REFRESH_JOB, payload, next_at, name)
    if not state.acknowledged and state.has_access:
        jobs.enqueue_job(ACKNOWLEDGE_JOB, {"subscription_id": row.id}, now, f"acknowledge {row.source} {row.key}")


def _record_payments(row: StoreSubscription, state: StoreState, fetched_at: datetime) -> None:
    if state.environment == "production":
        record_payments(row, state.payments, fetched_at)


def record_payments(row: StoreSubscription, payments: Sequence[StorePayment], now: datetime) -> None:
    """Record payments to the store, and their refunds, unless the store has said something later about them."""
    if not payments:
        return
    products = {payment.product_id for payment in payments}
    plan_ids = {each: StoreProduct.find_plan_id(row.source, each, None) or row.plan_id for each in products}
    values = [
        {
            "source": row.source,
            "id": payment.id,
            "account_id": row.account_id,
            "subscription_id": row.id,
            "plan_id": plan_ids[payment.product_id],
            "product_id": payment.product_id,
            "currency": payment.currency,
            "amount_minor": payment.amount_minor,
            "is_after_first_year": payment.purchased_at - (row.started_at or payment.purchased_at) >= FIRST_YEAR,
            "purchased_at": payment.purchased_at,
            "refunded_at": payment.refunded_at,
            "refunded_minor": payment.refunded_minor,
            "stated_at": payment.stated_at or now,
        }
        for payment in payments
    ]
    table: sa.Table = StoreTransaction.__table__
    statement = insert(table)
    refund = {name: statement.excluded[name] for name in ("refunded_at", "refunded_minor", "stated_at")}
    is_later = table.c.stated_at <= statement.excluded.stated_at
    statement = statement.on_conflict_do_update(index_elements=["source", "id"], set_=refund, where=is_later)
    db.session.execute(statement, values)


def list_payment_ids(subscription_id: str) -> set[str]:
    """Return the ids of the payments that are recorded of a subscription."""
    statement = sa.select(StoreTransaction.id).where(StoreTransaction.subscription_id == subscription_id)
    return set(db.session.scalars(statement))


def store_subscription_payload(row: StoreSubscription, time_zone: str) -> dict:
    """Return the event payload for a store's subscription: the members of `subscription_payload`."""
    moments = (row.period_start, row.period_end)
    start, end = (civil_day(moment, time_zone).isoformat() if moment else None for moment in moments)
    return {
        "subscription_id": row.id,
        "source": row.source,
        "status": row.status,
        "plan_id": row.plan_id,
        "price_id": None,
        "period_start": start,
        "period_end": end,
        "trial_end": end if row.status == "trialing" else None,
        "cancel_at": end if row.status in LIVE_STATUSES and not row.renews else None,
        "cancel_reason": row.cancel_reason,
    }


def _public_state(row: StoreSubscription) -> tuple:
    return row.status, row.plan_id, row.renews, row.account_id, row.renewal_product_id
