"""The revenue report: ledger sums per period, revenue by plan, country, and tax rate, and MRR movements."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from typing import Any

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
from streamsvc.rules.billing.invoicing import STANDARD_CATEGORY
from streamsvc.rules.billing.recurring import MOVEMENTS, ReportPeriod, report_periods
from streamsvc.storage.database import fetch_all

LEDGER_MEASURES = {
    # name: (kinds of journal, None for all; book whose entries are summed; sign that makes the sum positive)
    "invoiced_minor": (("invoice",), "receivable", 1),
    "voided_minor": (("void",), "receivable", -1),
    "credited_minor": (("credit_note",), "receivable", -1),
    "revenue_minor": (None, "revenue", -1),
    "tax_minor": (None, "tax", -1),
    "collected_minor": (("payment",), "cash", 1),
    "refunded_minor": (("refund", "payout"), "cash", -1),
    "disputed_minor": (("dispute", "dispute_won"), "cash", -1),
    "written_off_minor": (None, "written_off", 1),
    "goodwill_minor": (None, "goodwill", 1),
}


def revenue_report(start: date, end: date, interval: str) -> dict:
    """Return the report in the shape of RevenueOut for the UTC days [start, end)."""
    return {
        "mrr": compute_mrr(report_periods(start, end, interval)),
        "revenue": sum_ledger(start, end, interval),
        "by_plan": revenue_by_plan(start, end, interval),
        "by_country": revenue_by_country(start, end, interval),
        "taxes": revenue_by_tax_rate(start, end, interval),
    }


def compute_mrr(report_spans: list[ReportPeriod]) -> list[dict]:
    """Return for each span and currency the MRR at its start, the movements, and the MRR at its end."""
    opening: Counter[str] = Counter()
    movement_totals: Counter[tuple] = Counter()
    for _, currency, account_movements in iter_account_movements():
        for movement in account_movements:
            if movement.on < report_spans[0].start:
                opening[currency] += movement.amount_minor
            elif span := next((span for span in report_spans if span.contains(movement.on)), None):
                movement_totals[currency, span.label, movement.kind] += movement.amount_minor
    rows = []
    for span in report_spans:
        for currency in sorted(opening.keys() | {key[0] for key in movement_totals}):
            movement_amounts = {f"{kind}_minor": movement_totals[currency, span.label, kind] for kind in MOVEMENTS}
            closing_minor = opening[currency] + sum(movement_amounts.values())
            row = {"period": span.label, "currency": currency, "opening_minor": opening[currency]}
            rows.append({**row, **movement_amounts, "closing_minor": closing_minor})
            opening[currency] = closing_minor
    return rows


def sum_ledger(start: date, end: date, interval: str) -> list[dict]:
    """Return the sums of LEDGER_MEASURES for each period and currency."""
    label = period_label(LedgerEntry.at, interval)
    columns = [
        (-1 if sign < 0 else 1)
        * sa.func.sum(sa.case((_entry_condition(kinds, book), LedgerEntry.amount_minor), else_=0))
        for kinds, book, sign in LEDGER_MEASURES.values()
    ]
    labeled = [column.label(name) for column, name in zip(columns, LEDGER_MEASURES, strict=True)]
    rows = (
        sa.select(label.label("period"), LedgerEntry.currency, *labeled)
        .where(LedgerEntry.at >= utc_midnight(start), LedgerEntry.at < utc_midnight(end))
        .group_by("period", LedgerEntry.currency)
        .order_by("period", LedgerEntry.currency)
    )
    return rows_as_dicts(rows)


def _entry_condition(kinds: Sequence[str] | None, book: str) -> sa.ColumnElement[bool]:
    return LedgerEntry.book == book if kinds is None else (LedgerEntry.book == book) & LedgerEntry.kind.in_(kinds)


def revenue_by_plan(start: date, end: date, interval: str) -> list[dict]:
    """Return revenue by plan; revenue outside any plan has the plan None."""
    lines = revenue_lines_statement(start, end).subquery()
    return _sum_lines_by(lines, interval, Plan.code.label("plan"), join=(Price, Plan))


def revenue_by_tax_rate(start: date, end: date, interval: str) -> list[dict]:
    """Return revenue and tax by country, tax name, category, and rate, as a tax return requires."""
    lines = revenue_lines_statement(start, end).subquery()
    keys = (lines.c.country, lines.c.tax_name, lines.c.tax_category, lines.c.tax_ppm)
    return _sum_lines_by(lines, interval, *keys, tax=True)


def revenue_by_country(start: date, end: date, interval: str) -> list[dict]:
    """Return revenue by the country on the invoice."""
    lines = revenue_lines_statement(start, end).subquery()
    return _sum_lines_by(lines, interval, lines.c.country)


def _sum_lines_by(
    lines: sa.FromClause, interval: str, *keys: Any, join: Sequence[Any] = (), tax: bool = False
) -> list[dict]:
    label = period_label(lines.c.at, interval).label("period")
    sums = [sa.func.sum(lines.c.net_minor).label("revenue_minor")]
    if tax:
        sums.append(sa.func.sum(lines.c.tax_minor).label("tax_minor"))
    rows = sa.select(label, lines.c.currency, *keys, *sums).select_from(lines)
    if join:
        rows = rows.outerjoin(Price, Price.id == lines.c.price_id).outerjoin(Plan, Plan.id == Price.plan_id)
    groups = (sa.literal_column("period"), lines.c.currency, *(getattr(key, "element", key) for key in keys))
    return rows_as_dicts(rows.group_by(*groups).order_by(*groups))


def revenue_lines_statement(start: date, end: date) -> sa.CompoundSelect:
    """Select each line's revenue (without tax) and tax: invoices add, voids and credit notes subtract."""
    included_tax = sa.case((InvoiceLine.tax_inclusive, InvoiceLine.tax_minor), else_=0)
    net = InvoiceLine.amount_minor - InvoiceLine.discount_minor - included_tax
    is_not_discount = InvoiceLine.kind != "discount"
    is_void_entry = (LedgerEntry.kind == "void", LedgerEntry.book == "receivable")
    credited_net = CreditNoteLine.net_minor - sa.case((InvoiceLine.tax_inclusive, CreditNoteLine.tax_minor), else_=0)
    parts = (
        _revenue_lines_select(Invoice.created_at, net, InvoiceLine.tax_minor, start, end).where(is_not_discount),
        _revenue_lines_select(LedgerEntry.at, -net, -InvoiceLine.tax_minor, start, end)
        .join(LedgerEntry, LedgerEntry.invoice_id == Invoice.id)
        .where(is_not_discount, *is_void_entry),
        _revenue_lines_select(CreditNote.issued_at, -credited_net, -CreditNoteLine.tax_minor, start, end)
        .join(CreditNoteLine, CreditNoteLine.line_id == InvoiceLine.id)
        .join(CreditNote, CreditNote.id == CreditNoteLine.credit_note_id),
    )
    return sa.union_all(*parts)


def _revenue_lines_select(at: Any, net: Any, tax: Any, start: date, end: date) -> sa.Select:
    country = Invoice.customer["country"].as_string()
    columns = (
        Invoice.currency,
        country.label("country"),
        sa.func.coalesce(InvoiceLine.tax_name, Invoice.tax_name).label("tax_name"),
        sa.func.coalesce(InvoiceLine.tax_category, sa.literal_column(f"'{STANDARD_CATEGORY}'")).label("tax_category"),
        InvoiceLine.price_id,
        InvoiceLine.tax_ppm,
    )
    statement = sa.select(at.label("at"), *columns, net.label("net_minor"), tax.label("tax_minor")).select_from(
        InvoiceLine
    )
    return statement.join(Invoice, Invoice.id == InvoiceLine.invoice_id).where(
        at >= utc_midnight(start), at < utc_midnight(end)
    )


def period_label(moment: Any, interval: str) -> sa.ColumnElement[str]:
    """Return an expression for the month or day of a UTC moment. Both databases cast it to text with the year first."""
    return sa.func.substr(sa.cast(moment, sa.String), 1, 10 if interval == "day" else 7)


def utc_midnight(day: date) -> datetime:
    """Return the start of the day in UTC."""
    return datetime.combine(day, time.min, UTC)


def rows_as_dicts(statement: sa.Executable) -> list[dict]:
    """Return the rows as dicts, with sums as integers on both databases."""
    return [
        {name: int(value) if name.endswith("_minor") else value for name, value in row._mapping.items()}
        for row in fetch_all(statement)
    ]
