"""Exports of accounts and billing data as NDJSON, read a thousand rows at a time."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from functools import partial
from typing import Any

import msgspec
import sqlalchemy as sa

from streamsvc.models import Account
from streamsvc.models.accounts import GUEST
from streamsvc.models.subscriptions import (
    GiftPurchase,
    Invoice,
    InvoiceLine,
    LedgerEntry,
    Payout,
    Refund,
    StoreSubscription,
    StoreTransaction,
    Subscription,
)
from streamsvc.rules.stores.commission import compute_commission
from streamsvc.settings import current_settings
from streamsvc.storage.database import fetch_all, format_utc
from streamsvc.storage.replica import read_latest

CHUNK_SIZE = 1_000
TABLES = {
    "accounts": Account,
    "subscriptions": Subscription,
    "invoices": Invoice,
    "ledger": LedgerEntry,
    "payouts": Payout,
    "gift-purchases": GiftPurchase,
    "store-subscriptions": StoreSubscription,
    "store-payments": StoreTransaction,
}
EXPORTED_COLUMNS = {
    "accounts": """id email email_verified_at name country time_zone locale status status_reason disabled_until
        erase_at created_at""",
    "subscriptions": """id account_id plan_id price_id source status currency time_zone payment_method_id started_on
         anchor_day anchor_month bridge_start bridge_end period_start period_end trial_end access_until cancel_at
         canceled_at cancel_reason cancel_feedback paused_at resumes_at pending_price_id pending_on
         planned_price_id addon_prices past_due_since latest_invoice_id due_at reminded_of reminded_addons
         suspended_since
         billing_held_at billing_hold_reason addons addon_grants created_at""",
    "invoices": """id account_id subscription_id number status reason currency customer seller tax_name subtotal_minor
        discount_minor tax_minor total_minor credit_applied_minor amount_paid_minor balance_minor issued_at due_date
        created_at attempts first_failed_on next_attempt_on finalizes_at""",
    "ledger": "id journal_id kind account_id book currency amount_minor invoice_id payment_id note at",
    "payouts": """id account_id currency amount_minor paid_minor forced_minor status bank_transfer_minor
        bank_transfer_status reference reason created_by created_at settled_at""",
    "gift-purchases": """id account_id invoice_id gift_code_id currency amount_minor price_id periods recipient_email
        recipient_name sender_name message deliver_on deliveries delivered_at revoked_for created_at""",
    "store-subscriptions": """id account_id source environment plan_id product_id base_plan_id status store_state
        started_at period_start period_end access_until renews renewal_product_id resumes_at canceled_at cancel_reason
        offer had_trial family_shared price_consent acknowledged fetched_at created_at""",
    "store-payments": """source id account_id subscription_id plan_id product_id currency amount_minor
        is_after_first_year purchased_at refunded_at refunded_minor stated_at""",
}
"""Only the columns named here are exported: a column added to a table later is left out until it is listed."""
EXPORTED_NAMES = {"billing_held_at": "parked_at", "billing_hold_reason": "parked_reason"}
"""The API's names of columns that are called otherwise in the database."""
EXPORTED_LINE_COLUMNS = """
    id invoice_id position kind description subscription_id identity cause item price_id coupon_id
    credits_line_id period_start period_end days full_days quantity amount_minor discount_minor tax_minor
    tax_ppm tax_inclusive tax_category tax_name
"""
EXPORTED_REFUND_COLUMNS = "id payout_id payment_id status amount_minor provider_reference created_at settled_at"
_LINES, _REFUNDS = InvoiceLine.__table__.c, Refund.__table__.c
PARTS: dict[str, tuple[str, sa.Column, sa.Column, str]] = {
    "invoices": ("lines", _LINES.invoice_id, _LINES.position, EXPORTED_LINE_COLUMNS),
    "payouts": ("refunds", _REFUNDS.payout_id, _REFUNDS.id, EXPORTED_REFUND_COLUMNS),
}
"""What a row includes: {export: (member, column with the row's id, order, columns)}."""


def export_table(name: str) -> Iterator[bytes]:
    """Yield the lines of one export (a key of TABLES), by primary key; an invoice includes its lines, and so on."""
    table = TABLES[name].__table__
    keys = list(table.primary_key.columns)
    columns = [table.c[column].label(EXPORTED_NAMES.get(column, column)) for column in EXPORTED_COLUMNS[name].split()]
    after = [""] * len(keys)
    conditions = [table.c.status != GUEST] if name == "accounts" else []
    statement = sa.select(*columns).where(*conditions).order_by(*keys).limit(CHUNK_SIZE)
    while chunk := read_latest(partial(_list_chunk, name, statement.where(sa.tuple_(*keys) > sa.tuple_(*after)))):
        for row, parts in chunk:
            yield msgspec.json.encode(_encode_row(row) | parts) + b"\n"
        after = [chunk[-1][0]._mapping[key.name] for key in keys]


def _list_chunk(name: str, statement: sa.Select) -> list[tuple[sa.Row, dict[str, Any]]]:
    """Return a chunk of rows, each with its further members."""
    rows = fetch_all(statement)
    parts = _list_parts(name, rows) if rows else {}
    return [(row, parts.get(row.id, {})) for row in rows]


def _list_parts(name: str, rows: Sequence[sa.Row]) -> dict[str, dict[str, Any]]:
    """Return the further members of the rows by row: {invoice id: {"lines": […]}}; or {}."""
    if name == "store-payments":
        return {row.id: _payout_members(row) for row in rows}
    if name not in PARTS:
        return {}
    ids = [row.id for row in rows]
    member, owner, order, column_names = PARTS[name]
    columns = [owner.table.c[column] for column in column_names.split()]
    parts: dict[str, dict[str, list[dict]]] = {row_id: {member: []} for row_id in ids}
    for row in fetch_all(sa.select(*columns).where(owner.in_(ids)).order_by(order)):
        parts[row._mapping[owner.name]][member].append(_encode_row(row))
    return parts


def _encode_row(row: sa.Row) -> dict:
    return {key: _encode_value(value) for key, value in row._mapping.items()}


def _payout_members(row: sa.Row) -> dict[str, int]:
    """Return what a store keeps of a payment, after its refund, and what it pays out; taxes are part of both."""
    paid_minor = row.amount_minor - row.refunded_minor
    percentages = getattr(current_settings(), f"{row.source}_commission")
    commission_minor = compute_commission(paid_minor, percentages, row.is_after_first_year)
    return {"commission_minor": commission_minor, "net_minor": paid_minor - commission_minor}


def _encode_value(value: Any) -> Any:
    if isinstance(value, datetime):
        return format_utc(value)
    return value.isoformat() if isinstance(value, date) else value
