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
from streamsvc.operations.billing.reporting.rates import iter_account_movements
from streamsvc.rules.billing.recurring import MOVEMENTS, Span, spans
from streamsvc.storage.database import fetch_all

LEDGER_MEASURES = {
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


def revenue_report(start: date, end: date, interval: str) -> dict:
    """The shape of RevenueOut for the days [start, end), UTC."""
    return {
        "mrr": compute_mrr(spans(start, end, interval)),
        "revenue": sum_ledger(start, end, interval),
        "by_plan": revenue_by_plan(start, end, interval),
        "by_country": revenue_by_country(start, end, interval),
        "taxes": revenue_by_tax_rate(start, end, interval),
    }


def compute_mrr(report_spans: list[Span]) -> list[dict]:
    """For each span and currency: the rate at its start, its movements, the rate at its end."""
    opening, moved = Counter(), Counter()
    for _, currency, found in iter_account_movements():
        for one in found:
            if one.on < report_spans[0].start:
                opening[currency] += one.amount_minor
            elif span := next((span for span in report_spans if span.holds(one.on)), None):
                moved[currency, span.label, one.kind] += one.amount_minor
    rows = []
    for span in report_spans:
        for currency in sorted(opening.keys() | {key[0] for key in moved}):
            changes = {f"{kind}_minor": moved[currency, span.label, kind] for kind in MOVEMENTS}
            closing = opening[currency] + sum(changes.values())
            row = {"period": span.label, "currency": currency, "opening_minor": opening[currency]}
            rows.append({**row, **changes, "closing_minor": closing})
            opening[currency] = closing
    return rows


def sum_ledger(start: date, end: date, interval: str) -> list[dict]:
    """For each period and currency, the sums of the ledger's books."""
    label = period_label(LedgerEntry.at, interval)
    columns = [
        (-1 if sign < 0 else 1)
        * sa.func.sum(sa.case((_entry_condition(kinds, book), LedgerEntry.amount_minor), else_=0))
        for kinds, book, sign in LEDGER_MEASURES.values()
    ]
    named = [column.label(name) for column, name in zip(columns, LEDGER_MEASURES, strict=True)]
    rows = (
        sa.select(label.label("period"), LedgerEntry.currency, *named)
        .where(LedgerEntry.at >= utc_midnight(start), LedgerEntry.at < utc_midnight(end))
        .group_by("period", LedgerEntry.currency)
        .order_by("period", LedgerEntry.currency)
    )
    return rows_as_dicts(rows)


def _entry_condition(kinds, book):
    return LedgerEntry.book == book if kinds is None else (LedgerEntry.book == book) & LedgerEntry.kind.in_(kinds)


def revenue_by_plan(start: date, end: date, interval: str) -> list[dict]:
    """Revenue by plan; what belongs to none has null."""
    lines = revenue_lines_statement(start, end).subquery()
    return _sum_lines_by(lines, interval, Plan.code.label("plan"), join=(Price, Plan))


def revenue_by_tax_rate(start: date, end: date, interval: str) -> list[dict]:
    """Revenue and tax by country and rate: what a tax return asks for."""
    lines = revenue_lines_statement(start, end).subquery()
    return _sum_lines_by(lines, interval, lines.c.country, lines.c.tax_name, lines.c.tax_ppm, tax=True)


def revenue_by_country(start: date, end: date, interval: str) -> list[dict]:
    """Revenue by the country on the invoice."""
    lines = revenue_lines_statement(start, end).subquery()
    return _sum_lines_by(lines, interval, lines.c.country)


def _sum_lines_by(lines, interval, *keys, join=(), tax=False) -> list[dict]:
    label = period_label(lines.c.at, interval).label("period")
    sums = [sa.func.sum(lines.c.net_minor).label("revenue_minor")]
    if tax:
        sums.append(sa.func.sum(lines.c.tax_minor).label("tax_minor"))
    rows = sa.select(label, lines.c.currency, *keys, *sums).select_from(lines)
    if join:
        rows = rows.outerjoin(Price, Price.id == lines.c.price_id).outerjoin(Plan, Plan.id == Price.plan_id)
    groups = (sa.literal_column("period"), lines.c.currency, *(getattr(key, "element", key) for key in keys))
    return rows_as_dicts(rows.group_by(*groups).order_by(*groups))


def revenue_lines_statement(start: date, end: date):
    """What each line brought in revenue (without tax) and tax: invoices add, voids and credit notes take away."""
    inside = sa.case((InvoiceLine.tax_inclusive, InvoiceLine.tax_minor), else_=0)
    net = InvoiceLine.amount_minor - InvoiceLine.discount_minor - inside
    own = InvoiceLine.kind != "discount"
    voids = (LedgerEntry.kind == "void", LedgerEntry.book == "receivable")
    noted = CreditNoteLine.net_minor - sa.case((InvoiceLine.tax_inclusive, CreditNoteLine.tax_minor), else_=0)
    parts = (
        _revenue_lines_select(Invoice.created_at, net, InvoiceLine.tax_minor, start, end).where(own),
        _revenue_lines_select(LedgerEntry.at, -net, -InvoiceLine.tax_minor, start, end)
        .join(LedgerEntry, LedgerEntry.invoice_id == Invoice.id)
        .where(own, *voids),
        _revenue_lines_select(CreditNote.issued_at, -noted, -CreditNoteLine.tax_minor, start, end)
        .join(CreditNoteLine, CreditNoteLine.line_id == InvoiceLine.id)
        .join(CreditNote, CreditNote.id == CreditNoteLine.credit_note_id),
    )
    return sa.union_all(*parts)


def _revenue_lines_select(at, net, tax, start, end):
    country = Invoice.customer["country"].as_string()
    columns = (Invoice.currency, country.label("country"), Invoice.tax_name, InvoiceLine.price_id, InvoiceLine.tax_ppm)
    found = sa.select(at.label("at"), *columns, net.label("net_minor"), tax.label("tax_minor")).select_from(InvoiceLine)
    return found.join(Invoice, Invoice.id == InvoiceLine.invoice_id).where(
        at >= utc_midnight(start), at < utc_midnight(end)
    )


def period_label(moment, interval: str):
    """The month, or the day, of a moment in UTC: both databases write it with the year first."""
    return sa.func.substr(sa.cast(moment, sa.String), 1, 10 if interval == "day" else 7)


def utc_midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, UTC)


def rows_as_dicts(statement) -> list[dict]:
    """Rows as dicts; sums as whole numbers on both databases."""
    return [
        {name: int(value) if name.endswith("_minor") else value for name, value in row._mapping.items()}
        for row in fetch_all(statement)
    ]
