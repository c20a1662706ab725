"""Reports of app stores: their subscriptions, what they were paid and what they keep. Our own books have none of it."""

from collections import Counter
from collections.abc import Sequence
from datetime import date
from typing import Any

import sqlalchemy as sa

from streamsvc.models.subscriptions import Plan, StoreSubscription, StoreTransaction
from streamsvc.operations.billing.reporting.revenue import period_label, utc_midnight
from streamsvc.rules.billing.recurring import ReportPeriod
from streamsvc.rules.stores.commission import compute_commission
from streamsvc.rules.stores.state import PRODUCTION
from streamsvc.settings import Settings
from streamsvc.storage.database import fetch_all

Key = tuple[str, str, str, str]
"""(period, source, plan, currency)"""


def store_revenue_report(start: date, end: date, interval: str, settings: Settings) -> dict:
    """Return the report in the shape of StoreRevenueOut for the UTC days [start, end).

    A payment counts on the day on which it was made, and its refund on the day on which that was made; the commission
    of a refund is returned.
    """
    sums: dict[Key, Counter[str]] = {}
    paid = (StoreTransaction.purchased_at, StoreTransaction.amount_minor, "gross_minor", 1)
    refunded = (StoreTransaction.refunded_at, StoreTransaction.refunded_minor, "refunded_minor", -1)
    for at, amount, name, sign in (paid, refunded):
        label = period_label(at, interval).label("period")
        columns = (StoreTransaction.source, Plan.code, StoreTransaction.currency, StoreTransaction.is_after_first_year)
        statement = (
            sa.select(label, *columns, sa.func.sum(amount).label("minor"), sa.func.count().label("payments"))
            .join(Plan, Plan.id == StoreTransaction.plan_id)
            .where(at >= utc_midnight(start), at < utc_midnight(end), amount > 0)
            .group_by("period", *columns)
        )
        for row in fetch_all(statement):
            counter = sums.setdefault((row.period, row.source, row.code, row.currency), Counter())
            percentages = getattr(settings, f"{row.source}_commission")
            commission_minor = compute_commission(int(row.minor), percentages, row.is_after_first_year)
            counter[name] += int(row.minor)
            counter["commission_minor"] += sign * commission_minor
            counter["payments" if sign > 0 else "refunds"] += row.payments
    return {"stores": [_row(key, sums[key]) for key in sorted(sums)]}


def _row(key: Key, sums: Counter[str]) -> dict:
    period, source, plan, currency = key
    names = ("payments", "refunds", "gross_minor", "refunded_minor", "commission_minor")
    row = {"period": period, "currency": currency, "source": source, "plan": plan}
    net_minor = sums["gross_minor"] - sums["refunded_minor"] - sums["commission_minor"]
    return row | {name: sums[name] for name in names} | {"net_minor": net_minor}


def count_store_subscriptions(report_spans: list[ReportPeriod]) -> list[dict]:
    """Return for each span and store the subscriptions at its start and end, and those that started or ended in it.

    Test purchases do not count, nor do purchases that were never paid.
    """
    is_paid = (StoreSubscription.environment == PRODUCTION, StoreSubscription.started_at.is_not(None))
    has_ended = (*is_paid, StoreSubscription.status == "canceled")
    ended_at = sa.func.coalesce(
        StoreSubscription.canceled_at, StoreSubscription.period_end, StoreSubscription.fetched_at
    )
    started, ended = _count_by_day(StoreSubscription.started_at, is_paid), _count_by_day(ended_at, has_ended)
    opening: Counter[str] = Counter()
    counts: Counter[tuple[str, str, str]] = Counter()
    for kind, sign, rows in (("started", 1, started), ("ended", -1, ended)):
        for source, day, count in rows:
            if day < report_spans[0].start:
                opening[source] += sign * count
            elif span := next((span for span in report_spans if span.contains(day)), None):
                counts[source, span.label, kind] += count
    sources = sorted(opening.keys() | {source for source, _, _ in counts})
    return [_subscriptions_row(span.label, source, opening, counts) for span in report_spans for source in sources]


def _subscriptions_row(period: str, source: str, opening: Counter[str], counts: Counter[tuple[str, str, str]]) -> dict:
    """Return the row of a period, and move `opening` to its end."""
    started, ended = counts[source, period, "started"], counts[source, period, "ended"]
    row = {"period": period, "source": source, "opening": opening[source], "started": started, "ended": ended}
    opening[source] += started - ended
    return row | {"closing": opening[source]}


def _count_by_day(at: Any, conditions: Sequence[Any]) -> list[tuple[str, date, int]]:
    """Count subscriptions by source and UTC day: [(source, day, count)]."""
    label = period_label(at, "day").label("day")
    statement = sa.select(StoreSubscription.source, label, sa.func.count()).where(*conditions)
    rows = fetch_all(statement.group_by(StoreSubscription.source, "day"))
    return [(source, date.fromisoformat(day), count) for source, day, count in rows]
