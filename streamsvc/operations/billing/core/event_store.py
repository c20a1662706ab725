"""The event store: a subscription's events and its booked lines, loaded as the facts that the billing rules use."""

from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import joinedload

from streamsvc.models.subscriptions import (
    CreditNoteLine,
    Invoice,
    InvoiceLine,
    Price,
    Subscription,
    SubscriptionEvent,
)
from streamsvc.rules.billing import facts as fact
from streamsvc.storage.database import batching_session, db

EVENT_TYPES = {
    "started": fact.Started,
    "imported": fact.Imported,
    "gifted": fact.Gifted,
    "gift_added": fact.GiftAdded,
    "price_changed": fact.PriceChanged,
    "price_scheduled": fact.PriceScheduled,
    "anchor_moved": fact.AnchorMoved,
    "paused": fact.Paused,
    "resumed": fact.Resumed,
    "end_scheduled": fact.EndScheduled,
    "end_dropped": fact.EndDropped,
    "canceled": fact.Canceled,
    "suspended": fact.Suspended,
    "reverted": fact.Reverted,
    "addon_added": fact.AddonAdded,
    "addon_quantity_changed": fact.AddonQuantityChanged,
    "addon_end_set": fact.AddonEndSet,
    "addon_removal_scheduled": fact.AddonRemovalScheduled,
    "addon_removal_dropped": fact.AddonRemovalDropped,
    "addon_removed": fact.AddonRemoved,
    "transferred": fact.Transferred,
    "intro_withdrawn": fact.IntroWithdrawn,
    "addon_trial_withdrawn": fact.AddonTrialWithdrawn,
}
EVENT_KINDS = {event_type: kind for kind, event_type in EVENT_TYPES.items()}
UNPAID_STATUSES = ("void", "uncollectible")
WITH_PLAN = (joinedload(Price.plan),)
DATE_FIELDS = (
    *("start", "paid_through", "end", "effective", "not_before", "at", "ends_on", "frozen_from", "removed_addons_from"),
)


def load_facts(subscription_id: str) -> fact.Facts:
    """Load a subscription's facts: its events and its booked lines."""
    return load_facts_by_subscription([subscription_id])[subscription_id]


def load_facts_by_subscription(subscription_ids: Sequence[str]) -> dict[str, fact.Facts]:
    """Load the facts of many subscriptions in one pass, by subscription id."""
    columns = SubscriptionEvent.__table__.c
    rows = db.session.execute(
        sa.select(columns.subscription_id, columns.seq, columns.kind, columns.on, columns.data)
        .where(columns.subscription_id.in_(subscription_ids))
        .order_by(columns.subscription_id, columns.seq)
    )
    events: dict[str, list[fact.Event]] = {subscription_id: [] for subscription_id in subscription_ids}
    for row in rows.all():
        events[row.subscription_id].append(decode_event(row))
    booked = load_booked_lines(subscription_ids)
    return {
        subscription_id: fact.Facts(tuple(events[subscription_id]), booked[subscription_id])
        for subscription_id in subscription_ids
    }


def decode_event(row: Any) -> fact.Event:
    """Turn a row of `subscription_events` into an event of the rules."""
    data: dict[str, Any] = {
        name: date.fromisoformat(value) if name in DATE_FIELDS and value else value for name, value in row.data.items()
    }
    if "includes" in data:
        data["includes"] = tuple(data["includes"])
    if data.get("price"):
        terms = load_price(data["price"]).terms
        data["price"] = terms if data.get("has_intro", True) else replace(terms, intro=None)
    return EVENT_TYPES[row.kind](f"e{row.seq}", row.on, **data)


def load_price(price_id: str) -> Price:
    """Load a price with its plan."""
    return db.session.get_one(Price, price_id, options=WITH_PLAN)


def append_event(subscription: Subscription, event: fact.Event, actor: str | None, now: datetime) -> None:
    """Append an event to the subscription's history."""
    data = {field.name: getattr(event, field.name) for field in fields(event) if field.name not in ("ref", "on")}
    for name, value in data.items():
        if isinstance(value, date):
            data[name] = value.isoformat()
        elif isinstance(value, fact.PriceTerms):
            data[name] = value.id
    seq = int(event.ref[1:])
    row = {
        "subscription_id": subscription.id,
        "seq": seq,
        "kind": EVENT_KINDS[type(event)],
        "on": event.on,
        "data": data,
    }
    batching_session().insert_rows(SubscriptionEvent, [row | {"actor": actor, "at": now}])


def next_event_ref(facts: fact.Facts) -> str:
    """Return the reference for the next event; the number in it is the event's `seq`."""
    return f"e{len(facts.events)}"


def load_booked_lines(subscription_ids: Sequence[str]) -> dict[str, dict[str, fact.BookedLine]]:
    """Load each invoiced line's net amount after discount, and how much of it was credited.

    A line on a void or uncollectible invoice counts as fully credited: it was never paid, so nothing can be credited.
    Returns {subscription id: {line identity: Booked}}.
    """
    conditions = sa.and_(InvoiceLine.subscription_id.in_(subscription_ids), InvoiceLine.identity.is_not(None))
    net = InvoiceLine.amount_minor - InvoiceLine.discount_minor
    credited = sa.case((Invoice.status.in_(UNPAID_STATUSES), net), else_=0)
    booked: dict[str, dict[str, fact.BookedLine]] = {subscription_id: {} for subscription_id in subscription_ids}
    invoiced_lines = sa.select(InvoiceLine.subscription_id, InvoiceLine.identity, net, credited)
    for subscription_id, identity, *amounts in db.session.execute(
        invoiced_lines.join(Invoice, Invoice.id == InvoiceLine.invoice_id).where(conditions)
    ):
        booked[subscription_id][identity] = fact.BookedLine(*amounts)
    credit_note_lines: sa.Select = (
        sa.select(InvoiceLine.subscription_id, InvoiceLine.identity, net, sa.func.sum(CreditNoteLine.net_minor))
        .join(CreditNoteLine, CreditNoteLine.line_id == InvoiceLine.id)
        .join(Invoice, Invoice.id == InvoiceLine.invoice_id)
        .where(conditions, Invoice.status.not_in(UNPAID_STATUSES))
        .group_by(InvoiceLine.id)
    )
    for subscription_id, identity, net_minor, credited_minor in db.session.execute(credit_note_lines):
        booked[subscription_id][identity] = fact.BookedLine(net_minor, int(credited_minor))
    return booked
