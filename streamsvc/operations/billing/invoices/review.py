"""Draft, then final: for some hours a renewal's invoice may be looked at, added to or held, before it is numbered.

A draft is in the books as owed, and what it says is what will be charged. Whoever changes the subscription meanwhile
ends the review; a draft that is held waits for an operator, and lets nothing be changed but the end.
"""

from datetime import datetime, timedelta

from flask import current_app

from streamsvc.models import Account
from streamsvc.models.subscriptions import Invoice, InvoiceLine, Payment
from streamsvc.operations.billing.core import batches, charging, issuing, ledger
from streamsvc.operations.billing.core.aggregate import SubscriptionAggregate, load_locked
from streamsvc.operations.billing.core.taxing import load_taxation
from streamsvc.operations.billing.invoices.corrections import lock_invoice
from streamsvc.operations.billing.invoices.one_off import OneOffLine
from streamsvc.rules.billing.invoicing import Position, Tax, Totals, total
from streamsvc.rules.refusals.billing import WrongState
from streamsvc.storage.database import db
from streamsvc.storage.unit_of_work import unit_of_work
from streamsvc.worker import jobs


def review_deadline(now: datetime) -> datetime | None:
    """How long a draft that is written now can be looked at; None where nobody wants to."""
    hours = current_app.extensions["settings"].invoice_review_hours
    return now + timedelta(hours=hours) if hours else None


def list_drafts(aggregate: SubscriptionAggregate, include_held: bool) -> list[Invoice]:
    """The subscription's drafts, oldest first; those that are held only if asked for."""
    return [one for one in Invoice.drafts_of(aggregate.subscription.id) if include_held or one.finalizes_at]


def finalize_drafts(aggregate: SubscriptionAggregate, include_held: bool = False) -> list[Invoice]:
    """The review is over for these drafts; whoever asked charges them."""
    found = list_drafts(aggregate, include_held)
    for invoice in found:
        finalize_invoice(invoice, aggregate.now)
    return found


def finalize_invoice(invoice: Invoice, now: datetime) -> None:
    """Number it; account credit that came since pays of it what it can."""
    invoice.status, invoice.finalizes_at = "open", None
    issuing.issue_invoice(invoice, now)
    issuing.mark_paid_if_balance_is_zero(invoice)
    issuing.add_to_open_invoices(invoice)
    issuing.pay_open_invoices_from_credit(invoice.account_id, invoice.currency, now)


@jobs.job_handler(issuing.FINALIZE_JOB)
def handle_finalization(payload: dict, now: datetime) -> None:
    payments = [payment.id for payment in finalize_due_draft(payload, now)]
    db.session.commit()
    for payment_id in payments:
        charging.send_payment(payment_id)


@jobs.batch_job_handler(issuing.FINALIZE_JOB)
def handle_finalizations(payloads: list[dict], now: datetime) -> None:
    payments = []
    with unit_of_work():
        batches.lock_and_preload([payload["subscription_id"] for payload in payloads])
        for payload in payloads:
            payments += [payment.id for payment in finalize_due_draft(payload, now)]
    db.session.commit()
    batches.send_payments(payments)


def finalize_due_draft(payload: dict, now: datetime) -> list[Payment]:
    """Finalize one draft whose time has come; the payments that are to be sent once that is committed."""
    at = load_locked(payload["subscription_id"], now)
    invoice = db.session.get(Invoice, payload["invoice_id"], populate_existing=True)
    if invoice.status != "draft" or invoice.finalizes_at is None or invoice.finalizes_at > now:
        return []
    if at.subscription.parked_at:  # not billed on until somebody looked, who then lets go of it
        invoice.finalizes_at = None
        return []
    finalize_invoice(invoice, now)
    payments = charging.create_due_payments(at)
    at.save_projection()
    return payments


def lock_draft(invoice_id: str) -> Invoice:
    """The draft, under its account's lock. Raises WrongState."""
    _, invoice = lock_invoice(invoice_id)
    if invoice.status != "draft":
        raise WrongState(detail="Only a draft can be looked at; this invoice is final.")
    return invoice


def hold_draft(invoice_id: str) -> Invoice:
    """Keep a draft back until somebody lets go of it. Raises WrongState."""
    invoice = lock_draft(invoice_id)
    invoice.finalizes_at = None
    return invoice


def release_draft(invoice_id: str, now: datetime) -> Invoice:
    """It is final when its hours are over, or at once where they are. Raises WrongState."""
    invoice = lock_draft(invoice_id)
    if invoice.finalizes_at is None:
        issuing.schedule_finalization(invoice, max(now, review_deadline(invoice.created_at) or now))
    return invoice


def add_draft_line(invoice_id: str, line: OneOffLine, inclusive: bool, now: datetime) -> Invoice:
    """Charge for something by itself on a draft: taxed together with its other lines, out of reach of coupons.

    It is booked as of the draft's own moment, for the reports that count by lines. Raises WrongState.
    """
    invoice = lock_draft(invoice_id)
    known = [row for row in invoice.lines if row.kind != "discount"]
    taxation = load_taxation(db.session.get(Account, invoice.account_id))
    tax = Tax(taxation.rate_ppm, inclusive, "vat_id" in invoice.customer)
    totals = total([*map(_line_position, known), Position("", line.amount_minor, tax)])
    for row, position in zip(known, totals.positions[:-1], strict=True):
        row.tax_minor = position.tax_minor
    rows = [issuing.build_invoice_line(None, line, totals.positions[-1])]
    for _, off in totals.discounts:
        rows.append(
            InvoiceLine(
                kind="discount", description=issuing.REVERSE_CHARGE_TEXT, amount_minor=-off, tax_ppm=tax.rate_ppm
            )
        )
    for row in rows:
        row.position = len(invoice.lines)
        invoice.lines.append(row)
    invoice.tax_name = invoice.tax_name or taxation.name
    _update_totals(invoice, totals, now)
    return invoice


def _line_position(row: InvoiceLine) -> Position:
    return Position(row.id, row.amount_minor, Tax(row.tax_ppm, row.tax_inclusive), row.discount_minor, row.tax_minor)


def _update_totals(invoice: Invoice, totals: Totals, now: datetime) -> None:
    """Book what the draft asks for more than before, and pay of it what account credit can."""
    more, tax = totals.total_minor - invoice.total_minor, totals.tax_minor - invoice.tax_minor
    ledger.post_journal("invoice", invoice, invoice.created_at, receivable=more, revenue=tax - more, tax=-tax)
    invoice.subtotal_minor, invoice.tax_minor = totals.subtotal_minor, totals.tax_minor
    invoice.discount_minor += totals.discount_minor
    invoice.total_minor += more
    invoice.balance_minor += more
    credit = ledger.account_credit(invoice.account_id, invoice.currency)
    issuing.apply_account_credit(invoice, min(credit, invoice.balance_minor), now)
