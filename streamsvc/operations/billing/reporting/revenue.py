"""Revenue: what the ledger says of each month, by plan, country and tax; and how the monthly rate moved."""

from collections import Counter
from datetime import UTC, date, datetime, time

import sqlalchemy as sa

from streamsvc.models.subscriptions import (
    CreditNote,
    CreditNoteLine,
    Invoice,
    InvoiceLine,
    LedgerEntry,
    Plan,
    Price,
)
from streamsvc.operations.billing.reporting.rates import all_movements
from streamsvc.rules.billing.recurring import MOVEMENTS, Span, spans
from streamsvc.storage.database import all_rows

MEASURES = {
    # what it is called: the journals and the book it is the sum of, and the sign that makes it positive
    "invoiced_minor": (("invoice",), "receivable", 1),
    "voided_minor": (("void",), "receivable", -1),
    "credited_minor": (("credit_note",), "receivable", -1),
    "revenue_minor": (None, "revenue", -1),
    "tax_minor": (None, "tax", -1),
    "collected_minor": (("payment",), "cash", 1),
    "refunded_minor": (("refund",), "cash", -1),
    "disputed_minor": (("dispute", "dispute_won"), "cash", -1),
    "written_off_minor": (None, "written_off", 1),
    "goodwill_minor": (None, "goodwill", 1),
}


def revenue(start: date, end: date, interval: str) -> dict:
    """The shape of RevenueOut for the days [start, end), UTC."""
    return {
        "mrr": mrr(spans(start, end, interval)),
        "revenue": from_ledger(start, end, interval),
        "by_plan": by_plan(start, end, interval),
        "by_country": by_country(start, end, interval),
        "taxes": by_tax(start, end, interval),
    }


def mrr(asked: list[Span]) -> list[dict]:
    """For each span and currency: the rate at its start, its movements, the rate at its end."""
    opening, moved = Counter(), Counter()
    for _, currency, found in all_movements():
        for one in found:
            if one.on < asked[0].start:
                opening[currency] += one.amount_minor
            elif span := next((span for span in asked if span.holds(one.on)), None):
                moved[currency, span.label, one.kind] += one.amount_minor
    rows = []
    for span in asked:
        for currency in sorted(opening.keys() | {key[0] for key in moved}):
            changes = {f"{kind}_minor": moved[currency, span.label, kind] for kind in MOVEMENTS}
            closing = opening[currency] + sum(changes.values())
            row = {"period": span.label, "currency": currency, "opening_minor": opening[currency]}
            rows.append({**row, **changes, "closing_minor": closing})
            opening[currency] = closing
    return rows


def from_ledger(start: date, end: date, interval: str) -> list[dict]:
    """For each period and currency, the sums of the ledger's books."""
    label = label_of(LedgerEntry.at, interval)
    columns = [
        (-1 if sign < 0 else 1) * sa.func.sum(sa.case((_counts(kinds, book), LedgerEntry.amount_minor), else_=0))
        for kinds, book, sign in MEASURES.values()
    ]
    named = [column.label(name) for column, name in zip(columns, MEASURES, strict=True)]
    rows = (
        sa.select(label.label("period"), LedgerEntry.currency, *named)
        .where(LedgerEntry.at >= midnight(start), LedgerEntry.at < midnight(end))
        .group_by("period", LedgerEntry.currency)
        .order_by("period", LedgerEntry.currency)
    )
    return plain(rows)


def _counts(kinds, book):
    return LedgerEntry.book == book if kinds is None else (LedgerEntry.book == book) & LedgerEntry.kind.in_(kinds)


def by_plan(start: date, end: date, interval: str) -> list[dict]:
    """Revenue by plan; what belongs to none has null."""
    lines = lines_that_count(start, end).subquery()
    return _grouped(lines, interval, Plan.code.label("plan"), join=(Price, Plan))


def by_tax(start: date, end: date, interval: str) -> list[dict]:
    """Revenue and tax by country and rate: what a tax return asks for."""
    lines = lines_that_count(start, end).subquery()
    return _grouped(lines, interval, lines.c.country, lines.c.tax_name, lines.c.tax_ppm, tax=True)


def by_country(start: date, end: date, interval: str) -> list[dict]:
    """Revenue by the country on the invoice."""
    lines = lines_that_count(start, end).subquery()
    return _grouped(lines, interval, lines.c.country)


def _grouped(lines, interval, *keys, join=(), tax=False) -> list[dict]:
    label = label_of(lines.c.at, interval).label("period")
    sums = [sa.func.sum(lines.c.net_minor).label("revenue_minor")]
    if tax:
        sums.append(sa.func.sum(lines.c.tax_minor).label("tax_minor"))
    rows = sa.select(label, lines.c.currency, *keys, *sums).select_from(lines)
    if join:
        rows = rows.outerjoin(Price, Price.id == lines.c.price_id).outerjoin(Plan, Plan.id == Price.plan_id)
    groups = (sa.literal_column("period"), lines.c.currency, *(getattr(key, "element", key) for key in keys))
    return plain(rows.group_by(*groups).order_by(*groups))


def lines_that_count(start: date, end: date):
    """What each line brought in revenue (without tax) and tax: invoices add, voids and credit notes take away."""
    inside = sa.case((InvoiceLine.tax_inclusive, InvoiceLine.tax_minor), else_=0)
    net = InvoiceLine.amount_minor - InvoiceLine.discount_minor - inside
    own = InvoiceLine.kind != "discount"
    voids = (LedgerEntry.kind == "void", LedgerEntry.book == "receivable")
    noted = CreditNoteLine.net_minor - sa.case((InvoiceLine.tax_inclusive, CreditNoteLine.tax_minor), else_=0)
    parts = (
        _line(Invoice.created_at, net, InvoiceLine.tax_minor, start, end).where(own),
        _line(LedgerEntry.at, -net, -InvoiceLine.tax_minor, start, end)
        .join(LedgerEntry, LedgerEntry.invoice_id == Invoice.id)
        .where(own, *voids),
        _line(CreditNote.issued_at, -noted, -CreditNoteLine.tax_minor, start, end)
        .join(CreditNoteLine, CreditNoteLine.line_id == InvoiceLine.id)
        .join(CreditNote, CreditNote.id == CreditNoteLine.credit_note_id),
    )
    return sa.union_all(*parts)


def _line(at, net, tax, start, end):
    country = Invoice.customer["country"].as_string()
    columns = (Invoice.currency, country.label("country"), Invoice.tax_name, InvoiceLine.price_id, InvoiceLine.tax_ppm)
    found = sa.select(at.label("at"), *columns, net.label("net_minor"), tax.label("tax_minor")).select_from(InvoiceLine)
    return found.join(Invoice, Invoice.id == InvoiceLine.invoice_id).where(at >= midnight(start), at < midnight(end))


def label_of(moment, interval: str):
    """The month, or the day, of a moment in UTC: both databases write it with the year first."""
    return sa.func.substr(sa.cast(moment, sa.String), 1, 10 if interval == "day" else 7)


def midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, UTC)


def plain(statement) -> list[dict]:
    """Rows as dicts; sums as whole numbers on both databases."""
    return [
        {name: int(value) if name.endswith("_minor") else value for name, value in row._mapping.items()}
        for row in all_rows(statement)
    ]
