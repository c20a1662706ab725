"""The figures of the day, for the console's first page. Each part needs a scope of its own.

Accounts and payments are counted from their newest rows, at most `MAX_COUNTED`, so that no request reads whole tables;
`is_complete` is false where more of the period's rows were not reached.
"""

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import InstrumentedAttribute

from streamsvc.http.metrics import (
    FAILED_DELIVERY_COUNT,
    FAILED_JOBS,
    JOBS_DUE,
    STREAM_COUNT,
    count_subscriptions,
    sum_by_status,
)
from streamsvc.models import Account, WebhookEndpoint
from streamsvc.models.accounts import GUEST
from streamsvc.models.subscriptions import Payment
from streamsvc.storage.database import fetch_all, fetch_existing

DAYS = 30
MAX_COUNTED = 20_000
LATE_AFTER = timedelta(minutes=5)
"""A job that has been due for longer is late: the worker has not kept up, or is not running."""


def build_overview(can_read: Callable[[str], bool], now: datetime) -> dict:
    """Return the parts of the overview whose scope `can_read`; the others are None."""
    by_source = count_subscriptions() if can_read("billing") else None
    return {
        "at": now,
        "subscriptions": None if by_source is None else sum_by_status(by_source),
        "subscriptions_by_source": by_source,
        "payments": _count_payments(now) if can_read("billing") else None,
        "sign_ups": _count_sign_ups(now) if can_read("support") else None,
        "live_streams": fetch_existing(STREAM_COUNT, {"now": now})[0] if can_read("playback") else None,
        "jobs": _count_jobs(now) if can_read("admin") else None,
        "webhooks": _count_webhooks() if can_read("admin") else None,
    }


def _count_payments(now: datetime) -> dict:
    """Count the payments of the last days, and those that failed."""
    rows, is_complete = _list_newest(Payment.id, Payment.created_at, now, Payment.status)
    failed = [row for row in rows if row.status == "failed"]
    return {"days": _count_by_day(failed, now), "total": len(rows), "failed": len(failed), "is_complete": is_complete}


def _count_sign_ups(now: datetime) -> dict:
    rows, is_complete = _list_newest(Account.id, Account.created_at, now, Account.status)
    people = [row for row in rows if row.status != GUEST]
    return {"days": _count_by_day(people, now), "total": len(people), "is_complete": is_complete}


def _list_newest(
    key: InstrumentedAttribute, created_at: InstrumentedAttribute, now: datetime, status: InstrumentedAttribute
) -> tuple[list[Any], bool]:
    """Return the rows created within DAYS among the newest MAX_COUNTED, and whether these are all of the period."""
    since = now - timedelta(days=DAYS)
    newest = fetch_all(
        sa.select(created_at.label("at"), status.label("status")).order_by(key.desc()).limit(MAX_COUNTED)
    )
    is_complete = len(newest) < MAX_COUNTED or newest[-1].at < since
    return [row for row in newest if row.at >= since], is_complete


def _count_by_day(rows: list[Any], now: datetime) -> list[dict]:
    """Count rows by their UTC day, oldest first, with zeros."""
    counts = Counter(row.at.date() for row in rows)
    days = [now.date() - timedelta(days=back) for back in reversed(range(DAYS))]
    return [{"day": day, "count": counts[day]} for day in days]


def _count_jobs(now: datetime) -> dict:
    lanes = [
        {"lane": lane, "due": due, "oldest": oldest, "is_late": now - oldest > LATE_AFTER}
        for lane, due, oldest in fetch_all(JOBS_DUE, {"now": now})
    ]
    return {"lanes": lanes, "failed": {row[0]: row[1] for row in fetch_all(FAILED_JOBS)}}


def _count_webhooks() -> dict:
    enabled = sa.select(sa.func.count()).select_from(WebhookEndpoint).where(WebhookEndpoint.removed_at.is_(None))
    disabled = enabled.where(WebhookEndpoint.disabled_at.is_not(None))
    return {
        "endpoints": fetch_existing(enabled)[0],
        "disabled": fetch_existing(disabled)[0],
        "given_up": fetch_existing(FAILED_DELIVERY_COUNT)[0],
    }
