"""What an invoice or credit note says, from what was stored when it was issued."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from streamsvc.models.subscriptions import CreditNote, GiftPurchase, Invoice, InvoiceLine
from streamsvc.operations.billing.core.issuing import numbering_of
from streamsvc.rules.billing.document_lines import (
    Category,
    DocumentLine,
    TaxGroup,
    amounts_without_tax,
    group_by_rate,
    separate_exempt,
    tax_category,
)
from streamsvc.rules.refusals.billing import NoDocument
from streamsvc.storage.database import db

ONE_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Document:
    """An invoice or credit note. Amounts are in minor units; those of a credit note are positive."""

    kind: str
    """`invoice` or `credit_note`."""
    number: str | None
    """None for a draft."""
    issued_on: date
    due_on: date
    currency: str
    seller: dict
    """SELLER_FIELDS; empty for invoices from before the seller was stored."""
    customer: dict
    lines: list[DocumentLine]
    tax_name: str | None
    discounts: list[str]
    """The descriptions of the discounts, such as the coupons."""
    credit_applied_minor: int
    paid_minor: int
    due_minor: int
    """What is left to pay; nothing for credit notes, which reduce the invoice or become account credit."""
    credited: list[tuple[str, int]]
    """Number and total of the credit notes of an invoice."""
    corrects: list[tuple[str, date]]
    """Number and date of each invoice that a credit note, or a credit on this invoice, corrects."""
    status: str | None
    """The invoice's status; None for a credit note."""

    @property
    def groups(self) -> list[TaxGroup]:
        return group_by_rate(self.lines)

    @property
    def net_minor(self) -> int:
        return sum(line.net_minor for line in self.lines)

    @property
    def tax_minor(self) -> int:
        return sum(line.tax_minor for line in self.lines)

    @property
    def total_minor(self) -> int:
        return self.net_minor + self.tax_minor

    @property
    def is_reverse_charged(self) -> bool:
        return any(line.category == "AE" for line in self.lines)

    @property
    def supply(self) -> tuple[date, date]:
        """The first and the last day of what was supplied; the date of issue if no line has a period."""
        starts = [line.start for line in self.lines if line.start]
        ends = [line.end for line in self.lines if line.end]
        return min(starts, default=self.issued_on), max(ends, default=self.issued_on)


def invoice_document(invoice: Invoice) -> Document:
    """Return the document of an invoice or draft. Raises NoDocument for one over nothing, which has no number."""
    if invoice.issued_at is not None and invoice.number is None:
        raise NoDocument
    return Document(
        kind="invoice",
        number=invoice.number,
        issued_on=_seller_day(invoice, invoice.issued_at or invoice.created_at),
        due_on=invoice.due_date,
        currency=invoice.currency,
        seller=_stored_seller(invoice),
        customer=invoice.customer,
        lines=invoice_document_lines(invoice),
        tax_name=invoice.tax_name,
        discounts=[line.description for line in invoice.lines if line.kind == "discount"],
        credit_applied_minor=invoice.credit_applied_minor,
        paid_minor=invoice.amount_paid_minor,
        due_minor=max(0, invoice.balance_minor) if invoice.status in ("draft", "open") else 0,
        credited=[(note.number, note.total_minor) for note in invoice.credit_notes],
        corrects=list_corrected_invoices(invoice),
        status=invoice.status,
    )


def credit_note_document(note: CreditNote, invoice: Invoice) -> Document:
    """Return the document of a credit note: seller, customer and rates are those of the invoice that it corrects."""
    assert invoice.number is not None and invoice.issued_at is not None, "only an issued invoice is credited"
    by_id = {line.id: line for line in invoice.lines}
    lines = []
    for credited in note.lines:
        original = by_id[credited.line_id]
        net_minor = credited.net_minor - (credited.tax_minor if original.tax_inclusive else 0)
        lines.append(_document_line(invoice, original, 1, net_minor, net_minor, credited.tax_minor))
    return Document(
        kind="credit_note",
        number=note.number,
        issued_on=_seller_day(invoice, note.issued_at),
        due_on=_seller_day(invoice, note.issued_at),
        currency=note.currency,
        seller=_stored_seller(invoice),
        customer=invoice.customer,
        lines=separate_exempt(lines),
        tax_name=invoice.tax_name,
        discounts=[],
        credit_applied_minor=0,
        paid_minor=0,
        due_minor=0,
        credited=[],
        corrects=[(invoice.number, _seller_day(invoice, invoice.issued_at))],
        status=None,
    )


def list_corrected_invoices(invoice: Invoice) -> list[tuple[str, date]]:
    """List number and date of the invoices whose lines this one credits."""
    credited_ids = [line.credits_line_id for line in invoice.lines if line.credits_line_id]
    if not credited_ids:
        return []
    corrected = sa.select(InvoiceLine.invoice_id).where(InvoiceLine.id.in_(credited_ids))
    query = sa.select(Invoice).where(Invoice.id.in_(corrected), Invoice.number.is_not(None)).order_by(Invoice.id)
    return [
        (row.number, _seller_day(row, row.issued_at))
        for row in db.session.scalars(query)
        if row.number and row.issued_at
    ]


def _stored_seller(invoice: Invoice) -> dict:
    """Return the seller as stored; older invoices have only its VAT number, and that under reverse charge."""
    return invoice.seller or {"vat_id": invoice.customer.get("seller_vat_id")}


def invoice_document_lines(invoice: Invoice) -> list[DocumentLine]:
    """Return the invoice's lines without tax; discounts are part of the lines that they reduce."""
    reversed_ppm = max((line.tax_ppm for line in invoice.lines if line.kind == "discount"), default=0)
    has_coupons = any(line.kind == "discount" and not line.tax_ppm for line in invoice.lines)
    lines = []
    for line in invoice.lines:
        if line.kind == "discount":
            continue
        included_ppm = (line.tax_ppm or reversed_ppm) if line.tax_inclusive else 0
        before_minor, net_minor = amounts_without_tax(
            line.amount_minor,
            line.discount_minor,
            line.tax_minor,
            included_ppm,
            has_coupons and line.discount_minor > 0,
        )
        quantity = line.quantity if line.amount_minor >= 0 else -line.quantity
        lines.append(_document_line(invoice, line, quantity, before_minor, net_minor, line.tax_minor))
    return separate_exempt(lines)


def _document_line(
    invoice: Invoice, line: InvoiceLine, quantity: int, before_minor: int, net_minor: int, tax_minor: int
) -> DocumentLine:
    return DocumentLine(
        description=line.description,
        start=line.period_start,
        end=line.period_end - ONE_DAY if line.period_end else None,
        quantity=quantity,
        before_discount_minor=before_minor,
        net_minor=net_minor,
        tax_minor=tax_minor,
        tax_ppm=line.tax_ppm,
        category=_line_category(invoice, line),
    )


def _line_category(invoice: Invoice, line: InvoiceLine) -> Category:
    purchase = GiftPurchase.find_by_invoice(invoice)
    if purchase and purchase.price_id is None:  # a multi-purpose voucher: what it is spent on is the supply
        return "O"
    return tax_category(
        line.tax_ppm,
        is_reversed="vat_id" in invoice.customer,
        has_rate=invoice.tax_name is not None,
        is_exempt=bool((invoice.seller or {}).get("tax_exemption")),
    )


def _seller_day(invoice: Invoice, moment: datetime) -> date:
    return moment.astimezone(ZoneInfo(numbering_of(invoice)[1])).date()
