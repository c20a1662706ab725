"""The report of what the app stores were paid and keep. It is apart from our own books, which have none of it."""

from collections import Counter
from datetime import date

import sqlalchemy as sa

from streamsvc.models.subscriptions import Plan, StoreTransaction
from streamsvc.operations.billing.reporting.revenue import period_label, utc_midnight
from streamsvc.rules.stores.commission import compute_commission
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
