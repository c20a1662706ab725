"""Everything that is kept of money and its owners, one JSON document a line, a thousand rows at a time."""

from collections.abc import Iterator
from datetime import date, datetime

import msgspec
import sqlalchemy as sa

from streamsvc.database import all_rows, utc_text
from streamsvc.models import Account
from streamsvc.models.subscriptions import Invoice, InvoiceLine, LedgerEntry, Subscription

CHUNK = 1_000
SECRET = {"password_hash", "email_key", "request_key"}
TABLES = {"accounts": Account, "subscriptions": Subscription, "invoices": Invoice, "ledger": LedgerEntry}


def ndjson(name: str) -> Iterator[bytes]:
    """The lines of one export, in the order of their ids."""
    table = TABLES[name].__table__
    columns = [column for column in table.columns if column.name not in SECRET]
    after = ""
    while rows := all_rows(sa.select(*columns).where(table.c.id > after).order_by(table.c.id).limit(CHUNK)):
        lines = _lines_of([row.id for row in rows]) if name == "invoices" else {}
        for row in rows:
            shown = {key: _plain(value) for key, value in row._mapping.items()}
            if name == "invoices":
                shown["lines"] = lines.get(row.id, [])
            yield msgspec.json.encode(shown) + b"\n"
        after = rows[-1].id


def _lines_of(invoice_ids: list[str]) -> dict[str, list[dict]]:
    table = InvoiceLine.__table__
    rows = all_rows(sa.select(table).where(table.c.invoice_id.in_(invoice_ids)).order_by(table.c.position))
    found: dict[str, list[dict]] = {}
    for row in rows:
        found.setdefault(row.invoice_id, []).append({key: _plain(value) for key, value in row._mapping.items()})
    return found


def _plain(value):
    if isinstance(value, datetime):
        return utc_text(value)
    return value.isoformat() if isinstance(value, date) else value
