"""Reads pages of an account's invoices with all their parts."""

from collections import defaultdict

import sqlalchemy as sa

from streamsvc.models.subscriptions.credit_notes import CreditNote, CreditNoteLine
from streamsvc.models.subscriptions.invoices import Invoice, InvoiceLine
from streamsvc.models.subscriptions.payments import Payment
from streamsvc.storage.compiled_statements import CompiledStatement
from streamsvc.storage.detached import build_detached

AFTER_ALL_IDS = "inv_" + "z" * 26
_is_owned = Invoice.account_id == sa.bindparam("account_id")
_on_page = (_is_owned, Invoice.id.between(sa.bindparam("oldest"), sa.bindparam("newest")))
INVOICES = CompiledStatement(
    sa.select(*Invoice.__table__.c)
    .where(_is_owned, Invoice.id < sa.bindparam("before"))
    .order_by(Invoice.id.desc())
    .limit(sa.bindparam("limit"))
)
LINES = CompiledStatement(
    sa.select(*InvoiceLine.__table__.c)
    .join(Invoice, Invoice.id == InvoiceLine.invoice_id)
    .where(*_on_page)
    .order_by(InvoiceLine.position)
)
PAYMENTS = CompiledStatement(
    sa.select(*Payment.__table__.c)
    .join(Invoice, Invoice.id == Payment.invoice_id)
    .where(*_on_page)
    .order_by(Payment.id)
)
_credit_notes = sa.join(CreditNote, Invoice, Invoice.id == CreditNote.invoice_id)
CREDIT_NOTES = CompiledStatement(
    sa.select(*CreditNote.__table__.c).select_from(_credit_notes).where(*_on_page).order_by(CreditNote.id)
)
CREDIT_NOTE_LINES = CompiledStatement(
    sa.select(*CreditNoteLine.__table__.c)
    .select_from(_credit_notes.join(CreditNoteLine, CreditNoteLine.credit_note_id == CreditNote.id))
    .where(*_on_page)
    .order_by(CreditNoteLine.line_id)
)


def list_whole_invoices(account_id: str, before: str | None, limit: int) -> list[Invoice]:
    """List up to `limit` invoices of the account, newest first, with their lines, payments and credit notes.

    `before`: only those older than the invoice with this id. They belong to no session.
    """
    invoices = build_detached(Invoice, INVOICES.all(account_id=account_id, before=before or AFTER_ALL_IDS, limit=limit))
    if not invoices:
        return []
    page = {"account_id": account_id, "oldest": invoices[-1].id, "newest": invoices[0].id}
    lines: dict[str, list[InvoiceLine]] = defaultdict(list)
    payments: dict[str, list[Payment]] = defaultdict(list)
    credit_notes: dict[str, list[CreditNote]] = defaultdict(list)
    for line in build_detached(InvoiceLine, LINES.all(**page)):
        lines[line.invoice_id].append(line)
    for payment in build_detached(Payment, PAYMENTS.all(**page)):
        payments[payment.invoice_id].append(payment)
    for credit_note in _list_credit_notes(page):
        credit_notes[credit_note.invoice_id].append(credit_note)
    for invoice in invoices:
        vars(invoice).update(
            lines=lines[invoice.id], payments=payments[invoice.id], credit_notes=credit_notes[invoice.id]
        )
    return invoices


def _list_credit_notes(page: dict[str, str]) -> list[CreditNote]:
    """List a page's credit notes with their lines."""
    credit_notes = build_detached(CreditNote, CREDIT_NOTES.all(**page))
    if credit_notes:
        lines: dict[str, list[CreditNoteLine]] = defaultdict(list)
        for line in build_detached(CreditNoteLine, CREDIT_NOTE_LINES.all(**page)):
            lines[line.credit_note_id].append(line)
        for credit_note in credit_notes:
            vars(credit_note).update(lines=lines[credit_note.id])
    return credit_notes
