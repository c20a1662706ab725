"""A subscription and an invoice as they are shown."""

from streamsvc.database import db
from streamsvc.models.subscriptions import Discount, Invoice, Plan, Price, Subscription
from streamsvc.rules.billing.calendar import Period


def subscription_view(row: Subscription) -> dict:
    """The shape of SubscriptionOut."""
    shown = {name: getattr(row, name) for name in SHOWN}
    shown["plan"], shown["price"] = db.session.get(Plan, row.plan_id), db.session.get(Price, row.price_id)
    shown["period"] = Period(row.period_start, row.period_end) if row.period_start else None
    pending = row.pending_price_id and {"price_id": row.pending_price_id, "effective": row.pending_on}
    shown["pending_change"] = pending or None
    running = Discount.running(row.id)
    shown["discount"] = discount_view(running[0]) if running else None
    return shown


SHOWN = (
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
    shown["lines"] = [line_view(line) for line in invoice.lines]
    shown["payments"], shown["credit_notes"] = invoice.payments, invoice.credit_notes
    return shown


def line_view(line) -> dict:
    shown = {column.key: getattr(line, column.key) for column in type(line).__table__.columns}
    shown["period"] = Period(line.period_start, line.period_end) if line.period_start else None
    return shown


def entry_view(entry) -> dict:
    """An entry of account credit, from the customer's side: what adds is positive."""
    shown = {name: getattr(entry, name) for name in ("id", "kind", "currency", "invoice_id", "note", "at")}
    return {**shown, "amount_minor": -entry.amount_minor}
