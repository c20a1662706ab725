"""A subscription and an invoice as they are shown."""

from datetime import date

import sqlalchemy as sa

from streamsvc.models.subscriptions import Discount, Invoice, Plan, Price, Subscription, SubscriptionEvent
from streamsvc.operations.billing.subscriptions.price_migrations import list_declinable_migrations
from streamsvc.rules.billing.calendar import Period
from streamsvc.storage.database import db


def subscription_view(subscription: Subscription) -> dict:
    """The shape of SubscriptionOut."""
    shown = {name: getattr(subscription, name) for name in SUBSCRIPTION_FIELDS}
    shown["plan"], shown["price"] = (
        db.session.get(Plan, subscription.plan_id),
        db.session.get(Price, subscription.price_id),
    )
    shown["period"] = Period(subscription.period_start, subscription.period_end) if subscription.period_start else None
    pending = subscription.pending_price_id and {
        "price_id": subscription.pending_price_id,
        "effective": subscription.pending_on,
    }
    shown["pending_change"] = pending or None
    can_decline = pending and any(
        one.to_price_id == subscription.pending_price_id for one in list_declinable_migrations(subscription)
    )
    shown["declinable_change"] = pending if can_decline else None
    shown["discounts"] = [discount_view(one) for one in Discount.running(subscription.id)]
    shown["discount"] = shown["discounts"][0] if shown["discounts"] else None
    shown["addons"] = addon_views(subscription)
    return shown


def admin_subscription_view(subscription: Subscription) -> dict:
    """The shape of AdminSubscriptionOut."""
    return subscription_view(subscription) | {
        name: getattr(subscription, name) for name in ("account_id", "parked_at", "parked_reason")
    }


def addon_views(subscription: Subscription) -> list[dict]:
    """What goes along with the base plan in this period, as its events tell; `ends` where it was removed."""
    kinds = ("addon_added", "addon_removed", "reverted")
    mine = sa.select(SubscriptionEvent).where(SubscriptionEvent.subscription_id == subscription.id)
    events = db.session.scalars(mine.where(SubscriptionEvent.kind.in_(kinds)).order_by(SubscriptionEvent.seq)).all()
    reverted = {one.data["of"] for one in events if one.kind == "reverted"}
    going: dict[str, dict] = {}
    for event in events:
        if event.kind == "reverted" or f"e{event.seq}" in reverted:
            continue
        item = event.data["item"]
        if event.kind == "addon_added":
            going[item] = {"plan": item, "price": db.session.get(Price, event.data["price"]), "ends": None}
        else:
            going[item]["ends"] = date.fromisoformat(event.data["effective"])
    start = subscription.period_start or subscription.started_on
    return [one for one in going.values() if one["ends"] is None or one["ends"] > start]


SUBSCRIPTION_FIELDS = (
    "id",
    "status",
    "anchor_day",
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
    coupon = discount.coupon
    return {**coupon_view(coupon), "coupon": coupon.code, "periods_used": discount.periods_used}


def coupon_view(coupon) -> dict:
    shown = {name: getattr(coupon, name) for name in ("code", "amount_off_minor", "currency", "duration", "periods")}
    percent = coupon.percent_ppm and coupon.percent_ppm / 10_000
    return {**shown, "percent_off": percent}


def invoice_view(invoice: Invoice) -> dict:
    """The shape of InvoiceOut."""
    shown = {column.key: getattr(invoice, column.key) for column in Invoice.__table__.columns}
    shown["amount_due_minor"] = invoice.amount_due_minor
    shown["customer_vat_id"] = invoice.customer.get("vat_id")
    shown["reverse_charge"] = shown["customer_vat_id"] is not None
    shown["lines"] = [invoice_line_view(line) for line in invoice.lines]
    shown["payments"], shown["credit_notes"] = invoice.payments, invoice.credit_notes
    return shown


def invoice_line_view(line) -> dict:
    shown = {column.key: getattr(line, column.key) for column in type(line).__table__.columns}
    shown["period"] = Period(line.period_start, line.period_end) if line.period_start else None
    return shown


def credit_entry_view(entry) -> dict:
    """An entry of account credit, from the customer's side: what adds is positive."""
    shown = {name: getattr(entry, name) for name in ("id", "kind", "currency", "invoice_id", "note", "at")}
    return {**shown, "amount_minor": -entry.amount_minor}
