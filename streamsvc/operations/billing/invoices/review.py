"""Draft, then final: for some hours a renewal's invoice may be looked at, added to or held, before it is numbered.

A draft is in the books as owed, and what it says is what will be charged. Whoever changes the subscription meanwhile
ends the review; a draft that is held waits for an operator, and lets nothing be changed but the end.
"""

from datetime import datetime, timedelta

from flask import current_app

from streamsvc.models import Account
from streamsvc.models.subscriptions import Invoice, InvoiceLine, Payment
from streamsvc.operations.billing.core import batches, charging, issuing, ledger
from streamsvc.operations.billing.core.aggregate import Standing, stand
from streamsvc.operations.billing.core.taxing import taxation_of
from streamsvc.operations.billing.invoices.corrections import locked
from streamsvc.operations.billing.invoices.one_off import OneOff
from streamsvc.rules.billing.invoicing import Position, Tax, Totals, total
from streamsvc.rules.refusals.billing import WrongState
from streamsvc.storage.database import db
from streamsvc.storage.unit_of_work import together
from streamsvc.worker import jobs


def until(now: datetime) -> datetime | None:
    """How long a draft that is written now can be looked at; None where nobody wants to."""
    hours = current_app.extensions["settings"].invoice_review_hours
    return now + timedelta(hours=hours) if hours else None


def drafts(at: Standing, held: bool) -> list[Invoice]:
    """The subscription's drafts, oldest first; those that are held only if asked for."""
    return [one for one in Invoice.drafts_of(at.subscription.id) if held or one.finalizes_at]


def finalize_all(at: Standing, held: bool = False) -> list[Invoice]:
    """The review is over for these drafts; whoever asked charges them."""
    found = drafts(at, held)
    for invoice in found:
        finalize(invoice, at.now)
    return found


def finalize(invoice: Invoice, now: datetime) -> None:
    """Number it; account credit that came since pays of it what it can."""
    invoice.status, invoice.finalizes_at = "open", None
    issuing.number(invoice, now)
    issuing.settle_if_paid(invoice)
    issuing.count_in(invoice)
    issuing.spend_credit(invoice.account_id, invoice.currency, now)


@jobs.handler(issuing.FINALIZE_JOB)
def fall_final(payload: dict, now: datetime) -> None:
    payments = [payment.id for payment in end_review(payload, now)]
    db.session.commit()
    for payment_id in payments:
        charging.send(payment_id)


@jobs.set_handler(issuing.FINALIZE_JOB)
def fall_final_together(payloads: list[dict], now: datetime) -> None:
    payments = []
    with together():
        batches.hold([payload["subscription_id"] for payload in payloads])
        for payload in payloads:
            payments += [payment.id for payment in end_review(payload, now)]
    db.session.commit()
    batches.send_all(payments)


def end_review(payload: dict, now: datetime) -> list[Payment]:
    """Finalize one draft whose time has come; the payments that are to be sent once that is committed."""
    at = stand(payload["subscription_id"], now)
    invoice = db.session.get(Invoice, payload["invoice_id"], populate_existing=True)
    if invoice.status != "draft" or invoice.finalizes_at is None or invoice.finalizes_at > now:
        return []
    if at.subscription.parked_at:  # not billed on until somebody looked, who then lets go of it
        invoice.finalizes_at = None
        return []
    finalize(invoice, now)
    payments = charging.charge_open(at)
    at.show()
    return payments


def under_review(invoice_id: str) -> Invoice:
    """The draft, under its account's lock. Raises WrongState."""
    _, invoice = locked(invoice_id)
    if invoice.status != "draft":
        raise WrongState(detail="Only a draft can be looked at; this invoice is final.")
    return invoice


def hold(invoice_id: str) -> Invoice:
    """Keep a draft back until somebody lets go of it. Raises WrongState."""
    invoice = under_review(invoice_id)
    invoice.finalizes_at = None
    return invoice


def let_go(invoice_id: str, now: datetime) -> Invoice:
    """It is final when its hours are over, or at once where they are. Raises WrongState."""
    invoice = under_review(invoice_id)
    if invoice.finalizes_at is None:
        issuing.finalize_at(invoice, max(now, until(invoice.created_at) or now))
    return invoice


def add_line(invoice_id: str, line: OneOff, inclusive: bool, now: datetime) -> Invoice:
    """Charge for something by itself on a draft: taxed together with its other lines, out of reach of coupons.

    It is booked as of the draft's own moment, for the reports that count by lines. Raises WrongState.
    """
    invoice = under_review(invoice_id)
    known = [row for row in invoice.lines if row.kind != "discount"]
    taxation = taxation_of(db.session.get(Account, invoice.account_id))
    tax = Tax(taxation.rate_ppm, inclusive, "vat_id" in invoice.customer)
    totals = total([*map(_position, known), Position("", line.amount_minor, tax)])
    for row, position in zip(known, totals.positions[:-1], strict=True):
        row.tax_minor = position.tax_minor
    rows = [issuing.row_of(None, line, totals.positions[-1])]
    for _, off in totals.discounts:
        rows.append(InvoiceLine(kind="discount", description=issuing.REVERSED, amount_minor=-off, tax_ppm=tax.rate_ppm))
    for row in rows:
        row.position = len(invoice.lines)
        invoice.lines.append(row)
    invoice.tax_name = invoice.tax_name or taxation.name
    _add_up(invoice, totals, now)
    return invoice


def _position(row: InvoiceLine) -> Position:
    return Position(row.id, row.amount_minor, Tax(row.tax_ppm, row.tax_inclusive), row.discount_minor, row.tax_minor)


def _add_up(invoice: Invoice, totals: Totals, now: datetime) -> None:
    """Book what the draft asks for more than before, and pay of it what account credit can."""
    more, tax = totals.total_minor - invoice.total_minor, totals.tax_minor - invoice.tax_minor
    ledger.post("invoice", invoice, invoice.created_at, receivable=more, revenue=tax - more, tax=-tax)
    invoice.subtotal_minor, invoice.tax_minor = totals.subtotal_minor, totals.tax_minor
    invoice.discount_minor += totals.discount_minor
    invoice.total_minor += more
    invoice.balance_minor += more
    credit = ledger.account_credit(invoice.account_id, invoice.currency)
    issuing.apply_credit(invoice, min(credit, invoice.balance_minor), now)
