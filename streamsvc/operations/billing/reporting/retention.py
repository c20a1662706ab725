"""Retention: who came, who left and why, which trials were paid on, and how long each month's newcomers stay."""

from collections import Counter
from datetime import date

import sqlalchemy as sa

from streamsvc.models.subscriptions import Invoice, InvoiceLine, Subscription
from streamsvc.operations.billing.reporting.rates import all_movements
from streamsvc.rules.billing.facts import BASE
from streamsvc.rules.billing.recurring import CHURN, NEW, REACTIVATION, Movement, Span, spans
from streamsvc.storage.database import all_rows


def retention(start: date, end: date, interval: str) -> dict:
    """The shape of RetentionOut for the days [start, end), UTC."""
    asked = spans(start, end, interval)
    moved = [found for _, _, found in all_movements()]
    return {"subscribers": subscribers(moved, asked), "trials": trials(asked), "cohorts": cohorts(moved, asked)}


def subscribers(moved: list[list[Movement]], asked: list[Span]) -> list[dict]:
    """For each span: subscribers at its start, who came, who left by choice and for want of payment, who are left."""
    counts, opening = Counter(), 0
    for one in [one for found in moved for one in found]:
        if one.on < asked[0].start:
            opening += (one.kind in (NEW, REACTIVATION)) - (one.kind == CHURN)
        elif span := next((span for span in asked if span.holds(one.on)), None):
            kind = ("involuntary" if one.involuntary else "voluntary") if one.kind == CHURN else one.kind
            counts[span.label, kind] += 1
    rows = []
    for span in asked:
        new, back, chosen, unpaid = (counts[span.label, k] for k in (NEW, REACTIVATION, "voluntary", "involuntary"))
        row = {"period": span.label, "opening": opening, "new": new, "reactivated": back}
        row |= {"churned_voluntary": chosen, "churned_involuntary": unpaid, "churned": chosen + unpaid}
        row["closing"] = closing = opening + new + back - chosen - unpaid
        row["churn_percent"] = percent(chosen + unpaid, opening)
        rows.append(row)
        opening = closing
    return rows


def trials(asked: list[Span]) -> list[dict]:
    """For each span: the trials that ended in it, and how many of them were paid on."""
    paid = (
        sa.select(InvoiceLine.subscription_id)
        .join(Invoice, Invoice.id == InvoiceLine.invoice_id)
        .where(InvoiceLine.kind == "charge", InvoiceLine.item == BASE)  # an add-on is charged in the trial too
        .where(InvoiceLine.subscription_id == Subscription.id)
        .where(Invoice.status == "paid", Invoice.total_minor > 0)
        .exists()
    )
    days = (
        sa.select(Subscription.trial_end, sa.func.count().label("ended"), sa.func.sum(sa.case((paid, 1), else_=0)))
        .where(Subscription.trial_end >= asked[0].start, Subscription.trial_end < asked[-1].end)
        .group_by(Subscription.trial_end)
    )
    ended, converted = Counter(), Counter()
    for day, some, of_them in all_rows(days):
        label = next(span.label for span in asked if span.holds(day))
        ended[label] += some
        converted[label] += int(of_them)
    return [
        {
            "period": span.label,
            "ended": ended[span.label],
            "converted": converted[span.label],
            "conversion_percent": percent(converted[span.label], ended[span.label]),
        }
        for span in asked
    ]


def cohorts(moved: list[list[Movement]], asked: list[Span]) -> list[dict]:
    """For the newcomers of each span: how many there were, and how many were still there as each span ended."""
    staying: dict[str, Counter] = {span.label: Counter() for span in asked}
    for found in moved:
        came = next((span.label for span in asked if found and span.holds(found[0].on)), None)
        if came is None:
            continue
        for span in asked:
            last = [one for one in found if one.on < span.end]
            staying[came][span.label] += bool(last) and last[-1].kind != CHURN
    rows = []
    for place, span in enumerate(asked):
        here = [staying[span.label][later.label] for later in asked[place:]]
        size = sum(1 for found in moved if found and span.holds(found[0].on))
        rows.append({"period": span.label, "size": size, "staying": here})
    return rows


def percent(part: int, whole: int) -> float | None:
    """With two digits; None of nothing."""
    return round(100 * part / whole, 2) if whole else None
