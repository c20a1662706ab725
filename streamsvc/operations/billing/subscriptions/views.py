"""API views of subscriptions, discounts, invoices, and credit entries."""

from datetime import date

import sqlalchemy as sa

from streamsvc.models.subscriptions import (
    Coupon,
    Discount,
    Invoice,
    InvoiceLine,
    LedgerEntry,
    Plan,
    Price,
    Subscription,
    SubscriptionEvent,
)
from streamsvc.operations.billing.documents import content
from streamsvc.operations.billing.subscriptions.price_migrations import list_declinable_migrations
from streamsvc.rules.billing.calendar import Period
from streamsvc.rules.billing.document_lines import group_by_rate
from streamsvc.storage.database import db


def subscription_view(subscription: Subscription) -> dict:
    """Return a subscription in the shape of SubscriptionOut."""
    view = {name: getattr(subscription, name) for name in SUBSCRIPTION_FIELDS}
    view["plan"], view["price"] = (
        db.session.get(Plan, subscription.plan_id),
        db.session.get(Price, subscription.price_id),
    )
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
    view["discounts"] = [discount_view(discount) for discount in Discount.list_active(subscription.id)]
    view["discount"] = view["discounts"][0] if view["discounts"] else None
    view["addons"] = addon_views(subscription)
    return view


def admin_subscription_view(subscription: Subscription) -> dict:
    """Return a subscription in the shape of AdminSubscriptionOut."""
    return subscription_view(subscription) | {
        name: getattr(subscription, name) for name in ("account_id", "billing_held_at", "billing_hold_reason")
    }


def addon_views(subscription: Subscription) -> list[dict]:
    """Return the add-ons of the current period, derived from the events; `ends` is the end of a removed one."""
    kinds = ("addon_added", "addon_removed", "reverted")
    statement = sa.select(SubscriptionEvent).where(SubscriptionEvent.subscription_id == subscription.id)
    events = db.session.scalars(
        statement.where(SubscriptionEvent.kind.in_(kinds)).order_by(SubscriptionEvent.seq)
    ).all()
    reverted = {event.data["of"] for event in events if event.kind == "reverted"}
    addons: dict[str, dict] = {}
    for event in events:
        if event.kind == "reverted" or f"e{event.seq}" in reverted:
            continue
        item = event.data["item"]
        if event.kind == "addon_added":
            addons[item] = {"plan": item, "price": db.session.get(Price, event.data["price"]), "ends": None}
        else:
            addons[item]["ends"] = date.fromisoformat(event.data["effective"])
    start = subscription.period_start or subscription.started_on
    return [addon for addon in addons.values() if addon["ends"] is None or addon["ends"] > start]


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
    view["customer_vat_id"] = invoice.customer.get("vat_id")
    view["reverse_charge"] = view["customer_vat_id"] is not None
    view["customer"] = {name: invoice.customer.get(name) for name in CUSTOMER_FIELDS}
    view["seller"] = invoice.seller if invoice.seller and invoice.seller["name"] else None
    view["lines"] = [invoice_line_view(line) for line in invoice.lines]
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
