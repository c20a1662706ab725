"""The retention report: subscriber gains and churn, trial conversion, cohort retention, and what app stores bill."""

from collections import Counter
from datetime import date

import sqlalchemy as sa

from streamsvc.models.subscriptions import Invoice, InvoiceLine, Subscription
from streamsvc.operations.billing.reporting.rates import iter_account_movements
from streamsvc.operations.billing.reporting.stores import count_store_subscriptions
from streamsvc.rules.billing.facts import BASE_ITEM
from streamsvc.rules.billing.recurring import CHURN, NEW, REACTIVATION, Movement, ReportPeriod, report_periods
from streamsvc.storage.database import fetch_all


def retention_report(start: date, end: date, interval: str) -> dict:
    """Return the report in the shape of RetentionOut for the UTC days [start, end)."""
    report_spans = report_periods(start, end, interval)
    account_movements = [movements for _, _, movements in iter_account_movements()]
    return {
        "subscribers": count_subscribers(account_movements, report_spans),
        "trials": count_trials(report_spans),
        "cohorts": count_cohorts(account_movements, report_spans),
        "stores": count_store_subscriptions(report_spans),
    }


def count_subscribers(account_movements: list[list[Movement]], report_spans: list[ReportPeriod]) -> list[dict]:
    """Return for each span the subscribers at its start and end, and the new, reactivated, and churned ones.

    Churn is split into voluntary and involuntary, which means for lack of payment.
    """
    counts: Counter[tuple] = Counter()
    opening = 0
    for movement in [movement for movements in account_movements for movement in movements]:
        if movement.on < report_spans[0].start:
            opening += (movement.kind in (NEW, REACTIVATION)) - (movement.kind == CHURN)
        elif span := next((span for span in report_spans if span.contains(movement.on)), None):
            kind = ("involuntary" if movement.involuntary else "voluntary") if movement.kind == CHURN else movement.kind
            counts[span.label, kind] += 1
    rows = []
    for span in report_spans:
        new, reactivated, voluntary, involuntary = (
            counts[span.label, k] for k in (NEW, REACTIVATION, "voluntary", "involuntary")
        )
        row = {"period": span.label, "opening": opening, "new": new, "reactivated": reactivated}
        row |= {"churned_voluntary": voluntary, "churned_involuntary": involuntary, "churned": voluntary + involuntary}
        row["closing"] = closing = opening + new + reactivated - voluntary - involuntary
        row["churn_percent"] = compute_percent(voluntary + involuntary, opening)
        rows.append(row)
        opening = closing
    return rows


def count_trials(report_spans: list[ReportPeriod]) -> list[dict]:
    """Return for each span the trials that ended in it and how many converted to a paid subscription."""
    is_paid = (
        sa.select(InvoiceLine.subscription_id)
        .join(Invoice, Invoice.id == InvoiceLine.invoice_id)
        .where(InvoiceLine.kind == "charge", InvoiceLine.item == BASE_ITEM)  # an add-on is charged in the trial too
        .where(InvoiceLine.subscription_id == Subscription.id)
        .where(Invoice.status == "paid", Invoice.total_minor > 0)
        .exists()
    )
    statement = (
        sa.select(Subscription.trial_end, sa.func.count().label("ended"), sa.func.sum(sa.case((is_paid, 1), else_=0)))
        .where(Subscription.trial_end >= report_spans[0].start, Subscription.trial_end < report_spans[-1].end)
        .group_by(Subscription.trial_end)
    )
    ended: Counter[str] = Counter()
    converted: Counter[str] = Counter()
    for day, ended_count, converted_count in fetch_all(statement):
        label = next(span.label for span in report_spans if span.contains(day))
        ended[label] += ended_count
        converted[label] += int(converted_count)
    return [
        {
            "period": span.label,
            "ended": ended[span.label],
            "converted": converted[span.label],
            "conversion_percent": compute_percent(converted[span.label], ended[span.label]),
        }
        for span in report_spans
    ]


def count_cohorts(account_movements: list[list[Movement]], report_spans: list[ReportPeriod]) -> list[dict]:
    """Return for each span the number of its new subscribers, and how many remained at its end and each later one's."""
    staying: dict[str, Counter] = {span.label: Counter() for span in report_spans}
    for movements in account_movements:
        cohort = next((span.label for span in report_spans if movements and span.contains(movements[0].on)), None)
        if cohort is None:
            continue
        for span in report_spans:
            past_movements = [movement for movement in movements if movement.on < span.end]
            staying[cohort][span.label] += bool(past_movements) and past_movements[-1].kind != CHURN
    rows = []
    for index, span in enumerate(report_spans):
        counts = [staying[span.label][later.label] for later in report_spans[index:]]
        size = sum(1 for movements in account_movements if movements and span.contains(movements[0].on))
        rows.append({"period": span.label, "size": size, "staying": counts})
    return rows


def compute_percent(part: int, whole: int) -> float | None:
    """Return the percentage rounded to two digits; None if `whole` is zero."""
    return round(100 * part / whole, 2) if whole else None
