"""Review of drafts: for some hours a renewal's invoice can be inspected, extended, or held before it is issued.

A draft is booked as a receivable, and its total is what will be charged. A change to the subscription ends the review.
A held draft waits for an operator to release it, and until then the subscription can only be canceled.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from streamsvc.models import Account
from streamsvc.models.subscriptions import Invoice, InvoiceLine, Payment
from streamsvc.operations.billing.core import (
    balances,
    batches,
    charging,
    due_payments,
    invoice_creation,
    issuing,
    ledger,
)
from streamsvc.operations.billing.core.aggregate import SubscriptionAggregate, load_locked
from streamsvc.operations.billing.core.taxing import load_taxation
from streamsvc.operations.billing.invoices.corrections import lock_invoice
from streamsvc.operations.billing.invoices.one_off import OneOffLine
from streamsvc.rules.billing.invoice_labels import invoice_labels
from streamsvc.rules.billing.invoicing import STANDARD_CATEGORY, Position, TaxTerms, Totals, compute_totals
from streamsvc.rules.refusals.billing import WrongState
from streamsvc.settings import current_settings
from streamsvc.storage.database import db, reload_row
from streamsvc.worker import jobs


def review_deadline(now: datetime) -> datetime | None:
    """Return when the review of a draft created now ends; None if invoices are not reviewed."""
    hours = current_settings().invoice_review_hours
    return now + timedelta(hours=hours) if hours else None


def list_drafts(aggregate: SubscriptionAggregate, include_held: bool) -> list[Invoice]:
    """List the subscription's drafts, oldest first; held ones only with `include_held`."""
    return [
        invoice for invoice in Invoice.list_drafts(aggregate.subscription.id) if include_held or invoice.finalizes_at
    ]


def finalize_drafts(aggregate: SubscriptionAggregate, include_held: bool = False) -> list[Invoice]:
    """Finalize the subscription's drafts. The caller charges them."""
    drafts = list_drafts(aggregate, include_held)
    for invoice in drafts:
        finalize_invoice(invoice, aggregate.now)
    return drafts


def finalize_invoice(invoice: Invoice, now: datetime) -> None:
    """Finalize a draft: open and issue it, and apply account credit granted since it was created."""
    invoice.status, invoice.finalizes_at = "open", None
    issuing.issue_invoice(invoice, now)
    balances.update_status(invoice, now)
    balances.pay_open_invoices_from_credit(invoice.account_id, invoice.currency, now)


@jobs.job_handler(invoice_creation.FINALIZE_JOB)
def handle_finalization(payload: dict, now: datetime) -> None:
    """Finalize one due draft and charge it."""
    aggregate = load_locked(payload["subscription_id"], now)
    payment_ids = [payment.id for payment in finalize_due_draft(aggregate, payload["invoice_id"])]
    db.session.commit()
    for payment_id in payment_ids:
        charging.send_payment(payment_id)


@jobs.batch_job_handler(invoice_creation.FINALIZE_JOB)
def handle_finalizations(payloads: list[dict], now: datetime) -> None:
    """Finalize many due drafts in one unit of work and charge them together."""
    payment_ids = []
    with batches.lock_batch([payload["subscription_id"] for payload in payloads], now) as aggregates:
        for payload in payloads:
            payments = finalize_due_draft(aggregates[payload["subscription_id"]], payload["invoice_id"])
            payment_ids += [payment.id for payment in payments]
    db.session.commit()
    batches.send_payments(payment_ids)


def finalize_due_draft(aggregate: SubscriptionAggregate, invoice_id: str) -> list[Payment]:
    """Finalize a draft if it is due. Returns the payments to be sent after the commit.

    A draft of a subscription on billing hold becomes a held draft instead.
    """
    now, invoice = aggregate.now, reload_row(Invoice, invoice_id)
    if invoice.status != "draft" or invoice.finalizes_at is None or invoice.finalizes_at > now:
        return []
    if aggregate.subscription.billing_held_at:  # not billed until an operator has looked into it and releases the draft
        invoice.finalizes_at = None
        return []
    finalize_invoice(invoice, now)
    payments = due_payments.create_due_payments(aggregate)
    aggregate.save_projection()
    return payments


def lock_draft(invoice_id: str) -> Invoice:
    """Return the draft under its account's lock. Raises WrongState."""
    _, invoice = lock_invoice(invoice_id)
    if invoice.status != "draft":
        raise WrongState(detail="Only a draft can be reviewed; this invoice is final.")
    return invoice


def hold_draft(invoice_id: str) -> Invoice:
    """Hold a draft until an operator releases it. Raises WrongState."""
    invoice = lock_draft(invoice_id)
    invoice.finalizes_at = None
    return invoice


def release_draft(invoice_id: str, now: datetime) -> Invoice:
    """Release a held draft: it is finalized when its review period ends, or at once if it has. Raises WrongState."""
    invoice = lock_draft(invoice_id)
    if invoice.finalizes_at is None:
        invoice_creation.schedule_finalization(invoice, max(now, review_deadline(invoice.created_at) or now))
    return invoice


def add_draft_line(
    invoice_id: str, line: OneOffLine, inclusive: bool, now: datetime, tax_category: str = STANDARD_CATEGORY
) -> Invoice:
    """Add a one-off line to a draft: taxed together with its other lines, and not discounted by coupons.

    It is booked at the draft's creation time, which the reports that sum lines rely on. Raises WrongState.
    """
    invoice = lock_draft(invoice_id)
    existing_rows = [row for row in invoice.lines if row.kind != "discount"]
    taxation = load_taxation(db.session.get_one(Account, invoice.account_id))
    tax = replace(taxation.tax_for(inclusive, tax_category), reversed="vat_id" in invoice.customer)
    totals = compute_totals([*map(_line_position, existing_rows), Position("", line.amount_minor, tax)])
    for row, position in zip(existing_rows, totals.positions[:-1], strict=True):
        row.tax_minor = position.tax_minor
    locale = invoice.customer.get("locale")
    rows = [
        invoice_creation.build_invoice_line(None, line, totals.positions[-1], taxation.name_of(tax.category), locale)
    ]
    for reversed_tax, amount_minor in totals.reverse_charges:
        rows.append(
            InvoiceLine(
                kind="discount",
                description=invoice_labels(locale)["reverse_charge_discount"],
                amount_minor=-amount_minor,
                tax_ppm=reversed_tax.rate_ppm,
                tax_category=reversed_tax.category,
            )
        )
    for row in rows:
        row.position = len(invoice.lines)
        invoice.lines.append(row)
    invoice.tax_name = invoice.tax_name or taxation.name
    _update_totals(invoice, totals, now)
    return invoice


def _line_position(row: InvoiceLine) -> Position:
    tax = TaxTerms(row.tax_ppm, row.tax_inclusive, category=row.tax_category or STANDARD_CATEGORY)
    return Position(row.id, row.amount_minor, tax, row.discount_minor, row.tax_minor)


def _update_totals(invoice: Invoice, totals: Totals, now: datetime) -> None:
    """Book the increase of the draft's total and apply account credit to it."""
    added_minor, added_tax_minor = totals.total_minor - invoice.total_minor, totals.tax_minor - invoice.tax_minor
    ledger.post_journal(
        "invoice",
        invoice,
        invoice.created_at,
        receivable=added_minor,
        revenue=added_tax_minor - added_minor,
        tax=-added_tax_minor,
    )
    invoice.subtotal_minor, invoice.tax_minor = totals.subtotal_minor, totals.tax_minor
    invoice.discount_minor += totals.discount_minor
    invoice.total_minor += added_minor
    invoice.balance_minor += added_minor
    credit_minor = ledger.account_credit(invoice.account_id, invoice.currency)
    balances.apply_account_credit(invoice, min(credit_minor, invoice.balance_minor), now)
