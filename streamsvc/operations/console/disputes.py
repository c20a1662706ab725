"""Disputed payments, newest first: found among the payments themselves, at most `MAX_SCANNED` of them per page."""

import sqlalchemy as sa

from streamsvc.http import pagination
from streamsvc.models.subscriptions import Payment
from streamsvc.rules.inputs import PageInput
from streamsvc.storage.database import fetch_all

SCOPE = "disputed payments"
MAX_SCANNED = 20_000
COLUMNS = ("account_id", "invoice_id", "status", "currency", "amount_minor", "disputed_minor", "created_at")
PAYMENTS = sa.select(Payment.id, *(getattr(Payment, name) for name in COLUMNS)).order_by(Payment.id.desc())


def list_disputed_payments(query: PageInput) -> dict:
    """Return a page of the payments of which something is, or was, disputed; it may be empty and have a next one."""
    after, limit = pagination.decode_cursor(SCOPE, query["cursor"]), query["limit"]
    rows = fetch_all((PAYMENTS.where(Payment.id < after[0]) if after else PAYMENTS).limit(MAX_SCANNED))
    disputed = [row for row in rows if row.disputed_minor or row.status == "disputed"]
    stopped_at = [rows[-1].id] if len(rows) == MAX_SCANNED else None
    page = pagination.build_page(disputed[: limit + 1], limit, SCOPE, lambda row: [row.id], stopped_at)
    return page | (pagination.total_members(len(page["items"]), True) if query["include_total"] else {})
