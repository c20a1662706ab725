"""A subscription's events to and from their table, and what of them is booked: the facts that the rules work on."""

from dataclasses import fields
from datetime import date, datetime

import sqlalchemy as sa

from streamsvc.database import db
from streamsvc.models.subscriptions import CreditNoteLine, InvoiceLine, Price, Subscription, SubscriptionEvent
from streamsvc.rules.billing import facts as fact

KINDS = {
    "started": fact.Started,
    "imported": fact.Imported,
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
    "addon_removed": fact.AddonRemoved,
    "transferred": fact.Transferred,
}
NAMES = {event_type: kind for kind, event_type in KINDS.items()}
DATES = ("start", "paid_through", "end", "effective", "not_before", "at")


def facts_of(subscription: Subscription) -> fact.Facts:
    """Everything the rules need to know of a subscription."""
    rows = db.session.scalars(
        sa.select(SubscriptionEvent)
        .where(SubscriptionEvent.subscription_id == subscription.id)
        .order_by(SubscriptionEvent.seq)
    ).all()
    return fact.Facts(tuple(event_of(row) for row in rows), booked_lines(subscription.id))


def event_of(row: SubscriptionEvent) -> fact.Event:
    data = {name: date.fromisoformat(value) if name in DATES and value else value for name, value in row.data.items()}
    if data.get("price"):
        data["price"] = db.session.get(Price, data["price"]).terms
    return KINDS[row.kind](f"e{row.seq}", row.on, **data)


def record(subscription: Subscription, event: fact.Event, actor: str | None, now: datetime) -> None:
    """Write an event after the others."""
    data = {f.name: getattr(event, f.name) for f in fields(event) if f.name not in ("ref", "on")}
    for name, value in data.items():
        if isinstance(value, date):
            data[name] = value.isoformat()
        elif isinstance(value, fact.Price):
            data[name] = value.id
    seq = int(event.ref[1:])
    row = {"subscription_id": subscription.id, "seq": seq, "kind": NAMES[type(event)], "on": event.on, "data": data}
    db.session.add(SubscriptionEvent(**row, actor=actor, at=now))
    db.session.flush()


def next_ref(facts: fact.Facts) -> str:
    return f"e{len(facts.events)}"


def booked_lines(subscription_id: str) -> dict[str, fact.Booked]:
    """What each line was invoiced at, net of discount, and what credit notes took off it."""
    adjusted = (
        sa.select(CreditNoteLine.line_id, sa.func.sum(CreditNoteLine.net_minor).label("off"))
        .join(InvoiceLine, InvoiceLine.id == CreditNoteLine.line_id)
        .where(InvoiceLine.subscription_id == subscription_id)
        .group_by(CreditNoteLine.line_id)
        .subquery()
    )
    rows = db.session.execute(
        sa.select(
            InvoiceLine.identity,
            InvoiceLine.amount_minor - InvoiceLine.discount_minor,
            sa.func.coalesce(adjusted.c.off, 0),
        )
        .outerjoin(adjusted, adjusted.c.line_id == InvoiceLine.id)
        .where(InvoiceLine.subscription_id == subscription_id, InvoiceLine.identity.is_not(None))
    )
    return {identity: fact.Booked(int(net), int(off)) for identity, net, off in rows}
