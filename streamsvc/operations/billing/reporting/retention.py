"""Retention: who came, who left and why, which trials were paid on, and how long each month's newcomers stay."""

from collections import Counter
from datetime import date

import sqlalchemy as sa

from streamsvc.models.subscriptions import Invoice, InvoiceLine, Subscription
from streamsvc.operations.billing.reporting.rates import iter_account_movements
from streamsvc.rules.billing.facts import BASE
from streamsvc.rules.billing.recurring import CHURN, NEW, REACTIVATION, Movement, Span, spans
from streamsvc.storage.database import fetch_all


def retention_report(start: date, end: date, interval: str) -> dict:
    """The shape of RetentionOut for the days [start, end), UTC."""
    asked = spans(start, end, interval)
    moved = [found for _, _, found in iter_account_movements()]
    return {
        "subscribers": count_subscribers(moved, asked),
        "trials": count_trials(asked),
        "cohorts": count_cohorts(moved, asked),
    }


def count_subscribers(account_movements: list[list[Movement]], report_spans: list[Span]) -> list[dict]:
    """For each span: subscribers at its start, who came, who left by choice and for want of payment, who are left."""
    counts, opening = Counter(), 0
    for one in [one for found in account_movements for one in found]:
        if one.on < report_spans[0].start:
            opening += (one.kind in (NEW, REACTIVATION)) - (one.kind == CHURN)
        elif span := next((span for span in report_spans if span.holds(one.on)), None):
            kind = ("involuntary" if one.involuntary else "voluntary") if one.kind == CHURN else one.kind
            counts[span.label, kind] += 1
    rows = []
    for span in report_spans:
        new, back, chosen, unpaid = (counts[span.label, k] for k in (NEW, REACTIVATION, "voluntary", "involuntary"))
        row = {"period": span.label, "opening": opening, "new": new, "reactivated": back}
        row |= {"churned_voluntary": chosen, "churned_involuntary": unpaid, "churned": chosen + unpaid}
        row["closing"] = closing = opening + new + back - chosen - unpaid
        row["churn_percent"] = compute_percent(chosen + unpaid, opening)
        rows.append(row)
        opening = closing
    return rows


def count_trials(report_spans: list[Span]) -> list[dict]:
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
        .where(Subscription.trial_end >= report_spans[0].start, Subscription.trial_end < report_spans[-1].end)
        .group_by(Subscription.trial_end)
    )
    ended, converted = Counter(), Counter()
    for day, some, of_them in fetch_all(days):
        label = next(span.label for span in report_spans if span.holds(day))
        ended[label] += some
        converted[label] += int(of_them)
    return [
        {
            "period": span.label,
            "ended": ended[span.label],
            "converted": converted[span.label],
            "conversion_percent": compute_percent(converted[span.label], ended[span.label]),
        }
        for span in report_spans
    ]


def count_cohorts(account_movements: list[list[Movement]], report_spans: list[Span]) -> list[dict]:
    """For the newcomers of each span: how many there were, and how many were still there as each span ended."""
    staying: dict[str, Counter] = {span.label: Counter() for span in report_spans}
    for found in account_movements:
        came = next((span.label for span in report_spans if found and span.holds(found[0].on)), None)
        if came is None:
            continue
        for span in report_spans:
            last = [one for one in found if one.on < span.end]
            staying[came][span.label] += bool(last) and last[-1].kind != CHURN
    rows = []
    for place, span in enumerate(report_spans):
        here = [staying[span.label][later.label] for later in report_spans[place:]]
        size = sum(1 for found in account_movements if found and span.holds(found[0].on))
        rows.append({"period": span.label, "size": size, "staying": here})
    return rows


def compute_percent(part: int, whole: int) -> float | None:
    """With two digits; None of nothing."""
    return round(100 * part / whole, 2) if whole else None
