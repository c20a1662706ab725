"""API views of subscriptions, discounts, invoices, and credit entries."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import selectinload

from streamsvc.gateways.payments import current_provider
from streamsvc.models.subscriptions import (
    Coupon,
    Discount,
    Invoice,
    InvoiceLine,
    LedgerEntry,
    Plan,
    Price,
    PriceMigration,
    PriceMigrationTarget,
    StoreSubscription,
    Subscription,
)
from streamsvc.operations.billing.core import carryover, event_store, items
from streamsvc.operations.billing.core.aggregate import list_waiting_invoices
from streamsvc.operations.billing.documents import content
from streamsvc.operations.billing.subscriptions.price_migrations import (
    join_declinable_targets,
    list_declinable_migrations,
)
from streamsvc.rules.billing.calendar import Period
from streamsvc.rules.billing.document_lines import group_by_rate
from streamsvc.rules.billing.lines import replay_timeline
from streamsvc.storage.database import batching_session, db
from streamsvc.storage.unit_of_work import unit_of_work


@contextmanager
def preloaded_views(subscriptions: Sequence[Subscription | StoreSubscription]) -> Iterator[None]:
    """Preload what the views of these subscriptions need: within the block, none of them takes a query of its own."""
    plan_ids = {subscription.plan_id for subscription in subscriptions}
    own = [subscription for subscription in subscriptions if isinstance(subscription, Subscription)]
    ids = [subscription.id for subscription in own]
    addon_rows = [row for subscription in own for row in subscription.addons or ()]
    price_ids = {subscription.price_id for subscription in own} | {row["price_id"] for row in addon_rows}
    migrations = sa.select(PriceMigrationTarget, PriceMigration)
    discounts = sa.select(Discount).where(Discount.subscription_id.in_(ids), Discount.ended_at.is_(None))
    invoices = sa.select(Invoice).where(Invoice.subscription_id.in_(ids), Invoice.status == "open")
    with unit_of_work(batching_session()) as work:
        work.preload_rows(Plan, plan_ids, db.session.scalars(sa.select(Plan).where(Plan.id.in_(plan_ids))))
        work.preload_rows(Price, price_ids, db.session.scalars(sa.select(Price).where(Price.id.in_(price_ids))))
        work.preload_lists(Discount.subscription_id, ids, db.session.scalars(discounts.order_by(Discount.id)))
        statement = invoices.order_by(Invoice.id).options(selectinload(Invoice.payments))
        work.preload_lists(Invoice.subscription_id, ids, db.session.scalars(statement))
        targets = join_declinable_targets(migrations.where(PriceMigrationTarget.subscription_id.in_(ids)))
        work.preload_lists(PriceMigrationTarget.subscription_id, ids, db.session.scalars(targets))
        yield


def subscription_view(subscription: Subscription) -> dict:
    """Return a subscription in the shape of SubscriptionOut."""
    view: dict[str, Any] = {name: getattr(subscription, name) for name in SUBSCRIPTION_FIELDS}
    view["plan"] = db.session.get_one(Plan, subscription.plan_id)
    view["price"] = db.session.get_one(Price, subscription.price_id)
    view["period"] = (
        Period(subscription.period_start, subscription.period_end)
        if subscription.period_start and subscription.period_end
        else None
    )
    pending = subscription.pending_price_id and {
        "price_id": subscription.pending_price_id,
        "effective": subscription.pending_on,
    }
    view["pending_change"] = pending or None
    can_decline = pending and any(
        migration.to_price_id == subscription.pending_price_id for migration in list_declinable_migrations(subscription)
    )
    view["declinable_change"] = pending if can_decline else None
    view["pending_anchor"] = subscription.bridge_start and {
        "day": subscription.anchor_day,
        "month": subscription.anchor_month,
        "effective": subscription.bridge_start,
        "renews_on": subscription.bridge_end,
    }
    view["discounts"] = [discount_view(discount) for discount in Discount.list_active(subscription.id)]
    view["discount"] = view["discounts"][0] if view["discounts"] else None
    waiting = list_waiting_invoices(subscription)
    view["change_awaiting_payment"] = waiting_change_view(waiting[-1]) if waiting else None
    addon_rows = load_addon_rows(subscription)
    view["source"], view["store"] = subscription.source or current_provider().name, None
    view["addons"], view["items"] = addon_views(addon_rows), item_views(subscription, view["plan"], addon_rows)
    return view


def waiting_change_view(invoice: Invoice) -> dict:
    """Return the change that takes effect once this invoice is paid: the price that it charges, and its payment."""
    prices = [line.price_id for line in invoice.lines if line.kind == "charge"]
    return {
        "price_id": prices[0] if prices else None,
        "invoice_id": invoice.id,
        "payment_id": invoice.payments[-1].id if invoice.payments else None,
    }


def admin_subscription_view(subscription: Subscription) -> dict:
    """Return a subscription in the shape of AdminSubscriptionOut."""
    return subscription_view(subscription) | {
        name: getattr(subscription, name) for name in ("account_id", "billing_held_at", "billing_hold_reason")
    }


def load_addon_rows(subscription: Subscription) -> list[dict]:
    """Return the add-ons as the row stores them; computed from the events if it does not store them yet."""
    if subscription.addons is not None:
        return subscription.addons
    day = subscription.period_start or subscription.started_on
    return items.addon_rows(replay_timeline(event_store.load_facts(subscription.id), day))


def addon_views(rows: list[dict]) -> list[dict]:
    """Return the add-ons of the current period; `ends` is the first day without one, if that is known."""
    return [
        {
            "plan": row["item"],
            "price": db.session.get(Price, row["price_id"]),
            **{name: row[name] and date.fromisoformat(row[name]) for name in ("trial_end", "ends")},
            "quantity": row["quantity"],
        }
        for row in rows
    ]


class PlanItem(NamedTuple):
    """What `item_views` reads of a subscription."""

    price_id: str | None
    trial_end: date | None
    cancel_at: date | None


def item_views(subscription: "Subscription | PlanItem", plan: Plan, rows: list[dict]) -> list[dict]:
    """Return the plan, the add-ons of the current period, and those that the plan includes."""
    dates = ("trial_end", "ends_at", "cancel_at")
    base: dict[str, Any] = {"code": plan.code, "price_id": subscription.price_id, "quantity": 1, "included": False}
    base |= {"trial_end": subscription.trial_end, "ends_at": None, "cancel_at": subscription.cancel_at}
    addons = [
        {"code": row["item"], "price_id": row["price_id"], "quantity": row["quantity"], "included": False}
        | {name: row[name] and date.fromisoformat(row[name]) for name in dates}
        for row in rows
    ]
    included = [
        {"code": code, "price_id": None, "quantity": 1, "included": True} | dict.fromkeys(dates)
        for code in plan.includes
    ]
    return [base, *addons, *included]


SUBSCRIPTION_FIELDS = (
    "id",
    "status",
    "anchor_day",
    "anchor_month",
    "started_on",
    "trial_end",
    "cancel_at",
    "canceled_at",
    "cancel_reason",
    "paused_at",
    "resumes_at",
    "access_until",
    "past_due_since",
    "payment_method_id",
    "latest_invoice_id",
    "created_at",
)


def discount_view(discount: Discount) -> dict:
    """Return a discount: its coupon and how many periods of it are used."""
    coupon = discount.coupon
    return {**coupon_view(coupon), "coupon": coupon.code, "periods_used": discount.periods_used}


def coupon_view(coupon: Coupon) -> dict:
    """Return a coupon's terms."""
    view = {name: getattr(coupon, name) for name in ("code", "amount_off_minor", "currency", "duration", "periods")}
    percent = coupon.percent_ppm and coupon.percent_ppm / 10_000
    return {**view, "percent_off": percent}


def invoice_view(invoice: Invoice) -> dict:
    """Return an invoice in the shape of InvoiceOut."""
    view = {column.key: getattr(invoice, column.key) for column in Invoice.__table__.columns}
    view["amount_due_minor"] = invoice.amount_due_minor
    view["carried_over"] = carryover.is_carried_over(invoice)
    view["customer_vat_id"] = invoice.customer.get("vat_id")
    view["reverse_charge"] = view["customer_vat_id"] is not None
    view["customer"] = {name: invoice.customer.get(name) for name in CUSTOMER_FIELDS}
    view["seller"] = invoice.seller if invoice.seller and invoice.seller["name"] else None
    view["lines"] = [invoice_line_view(line) for line in invoice.lines]
    view["taxes"] = invoice.tax_breakdown
    document_lines = content.invoice_document_lines(invoice)
    taxed_views = [line_view for line_view in view["lines"] if line_view["kind"] != "discount"]
    for line_view, line in zip(taxed_views, document_lines, strict=True):
        line_view |= {"net_minor": line.net_minor, "tax_percent": line.tax_ppm / PPM_PER_PERCENT}
    view["tax_breakdown"] = [
        {"category": group.category, "percent": group.tax_ppm / PPM_PER_PERCENT}
        | {"net_minor": group.net_minor, "tax_minor": group.tax_minor}
        for group in group_by_rate(document_lines)
    ]
    view["payments"], view["credit_notes"] = invoice.payments, invoice.credit_notes
    return view


PPM_PER_PERCENT = 10_000
CUSTOMER_FIELDS = ("name", "email", "street", "postal_code", "city", "region", "country", "locale", "vat_id")


def invoice_line_view(line: InvoiceLine) -> dict:
    """Return an invoice line with its period."""
    view = {column.key: getattr(line, column.key) for column in type(line).__table__.columns}
    view["period"] = Period(line.period_start, line.period_end) if line.period_start and line.period_end else None
    return view


def credit_entry_view(entry: LedgerEntry) -> dict:
    """Return an account credit entry from the customer's side: an increase is positive."""
    view = {name: getattr(entry, name) for name in ("id", "kind", "currency", "invoice_id", "note", "at")}
    return {**view, "amount_minor": -entry.amount_minor}
