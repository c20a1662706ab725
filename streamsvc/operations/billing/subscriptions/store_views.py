"""API views of subscriptions that an app store bills: those of our own, with what only a store's have in `store`."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from streamsvc.http import pagination
from streamsvc.models import Account
from streamsvc.models.subscriptions import Plan, StoreSubscription, Subscription
from streamsvc.operations.billing.subscriptions.views import (
    SUBSCRIPTION_FIELDS,
    PlanItem,
    admin_subscription_view,
    item_views,
)
from streamsvc.rules.billing.access import LIVE_STATUSES
from streamsvc.rules.billing.calendar import Period, civil_day
from streamsvc.rules.inputs import PageInput
from streamsvc.rules.stores.state import MANAGEMENT_URLS
from streamsvc.storage.database import db

STORE_FIELDS = (
    *("environment", "product_id", "base_plan_id", "renews", "renewal_product_id", "offer", "family_shared"),
    *("price_consent", "fetched_at"),
)
NOT_OURS = ("pending_change", "declinable_change", "pending_anchor", "discount", "change_awaiting_payment", "price")


def store_subscription_view(row: StoreSubscription, time_zone: str | None = None) -> dict[str, Any]:
    """Return a store's subscription in the shape of SubscriptionOut; its days are those of the account's time zone."""
    zone = time_zone or db.session.get_one(Account, row.account_id).time_zone
    start, end = (moment and civil_day(moment, zone) for moment in (row.period_start, row.period_end))
    plan = db.session.get_one(Plan, row.plan_id)
    view: dict[str, Any] = dict.fromkeys((*SUBSCRIPTION_FIELDS, *NOT_OURS)) | {
        "id": row.id,
        "status": row.status,
        "source": row.source,
        "plan": plan,
        "started_on": civil_day(row.started_at or row.created_at, zone),
        "period": Period(start, end) if start and end else None,
        "trial_end": end if row.status == "trialing" else None,
        "cancel_at": end if row.status in LIVE_STATUSES and not row.renews else None,
        "canceled_at": row.canceled_at,
        "cancel_reason": row.cancel_reason,
        "resumes_at": row.resumes_at,
        "access_until": row.access_until,
        "created_at": row.created_at,
        "discounts": [],
        "addons": [],
    }
    view["items"] = item_views(PlanItem(None, view["trial_end"], view["cancel_at"]), plan, [])
    view["store"] = {name: getattr(row, name) for name in STORE_FIELDS} | {
        "state": row.store_state,
        "period_end": row.period_end,
        "management_url": MANAGEMENT_URLS[row.source],
    }
    return view


def admin_store_subscription_view(row: StoreSubscription) -> dict[str, Any]:
    """Return a store's subscription in the shape of AdminSubscriptionOut."""
    held = {"billing_held_at": None, "billing_hold_reason": None}
    return store_subscription_view(row) | held | {"account_id": row.account_id}


def paginate_subscriptions(
    query: PageInput,
    account_id: str | None,
    scope: str,
    conditions: Sequence[sa.ColumnElement[bool]] = (),
    with_stores: bool = True,
) -> dict[str, Any]:
    """Return a page of subscriptions, newest first: ours, which meet the `conditions`, and those of app stores.

    `account_id`: None lists those of all accounts.
    """
    after, size = pagination.decode_cursor(scope, query["cursor"]), query["limit"] + 1
    rows: list[Subscription | StoreSubscription] = []
    total = 0
    models: list[type[Subscription | StoreSubscription]] = [Subscription, *([StoreSubscription] if with_stores else [])]
    for model in models:
        owned = sa.select(model).where(*(conditions if model is Subscription else ()))
        if account_id:
            owned = owned.where(model.account_id == account_id)
        page = owned.where(model.id < after[0]) if after else owned
        rows += db.session.scalars(page.order_by(model.id.desc()).limit(size))
        if query["include_total"]:
            total += db.session.scalars(pagination.bounded_count(owned)).one()
    rows.sort(key=lambda row: row.id, reverse=True)
    listed = pagination.build_page(rows[:size], query["limit"], scope, lambda row: [row.id])
    return listed | (pagination.total_members(total) if query["include_total"] else {})


def any_subscription_view(row: Subscription | StoreSubscription) -> dict[str, Any]:
    """Return a subscription in the shape of AdminSubscriptionOut, whoever bills it."""
    return admin_store_subscription_view(row) if isinstance(row, StoreSubscription) else admin_subscription_view(row)
