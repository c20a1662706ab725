"""Payouts of account credit: how much of the credit came from money, and what their parts do to the books.

The credit leaves the account when the payout is recorded, before the provider is called, so that it cannot be spent
meanwhile; a part that fails gives it back.
"""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from streamsvc.gateways.payments.interface import DECLINED, SUCCEEDED, Outcome
from streamsvc.models import Account
from streamsvc.models.subscriptions import Invoice, InvoiceLine, LedgerEntry, Payout, Refund
from streamsvc.operations.billing.core import debts, ledger, referrals
from streamsvc.operations.billing.core.credit import apply_new_credit
from streamsvc.operations.outbox.webhooks import publish_event
from streamsvc.rules.billing.payouts import CreditMovement, payout_status, trace_credit
from streamsvc.storage.database import db

PAYOUT_KIND = "payout"
"""The kind of the ledger's journals; their note is the payout's id."""


def money_backed_credit(account_id: str, currency: str) -> int:
    """Return how much of the account's credit came from its owner's money, in minor units.

    It never exceeds the money that the account has paid and not got back.
    """
    origin = trace_credit(_list_credit_movements(account_id, currency))
    cash_minor = LedgerEntry.balance(account_id, "cash", currency)
    return max(0, min(origin.from_money_minor, cash_minor, ledger.account_credit(account_id, currency)))


def payable_credit(account_id: str, currency: str) -> int:
    """Return how much credit is paid out without force: what came from money, if no written-off debt can be paid.

    A debt counts in whatever currency it is owed. What is too small to be paid reduces the credit of its currency.
    """
    if debts.list_written_off_debts(account_id):
        return 0
    written_off_minor = LedgerEntry.balance(account_id, "written_off", currency)
    return max(0, money_backed_credit(account_id, currency) - max(0, written_off_minor))


def _list_credit_movements(account_id: str, currency: str) -> list[CreditMovement]:
    """List the journals that changed the account's credit, oldest first.

    Credit lines for days that a previous owner of the subscription paid for count as given, and as spent on their
    invoice: what comes back from it is no money of this account.
    """
    owned = LedgerEntry.account_id == account_id, LedgerEntry.currency == currency
    columns = (LedgerEntry.journal_id, LedgerEntry.kind, LedgerEntry.invoice_id)
    amounts = (LedgerEntry.book, LedgerEntry.amount_minor)
    journals: dict[str, dict] = {}
    for journal_id, kind, invoice_id, book, amount_minor in db.session.execute(
        sa.select(*columns, *amounts).where(*owned).order_by(LedgerEntry.id)
    ):
        books = journals.setdefault(journal_id, {"kind": kind, "invoice": invoice_id})
        books[book] = books.get(book, 0) + amount_minor
    transferred, movements = _sum_transferred_credits(account_id, currency), []
    for books in journals.values():
        if books["kind"] == "invoice" and (amount_minor := transferred.get(books["invoice"], 0)) > 0:
            movements += [CreditMovement("given", amount_minor), CreditMovement("invoice", -amount_minor)]
        if books.get("customer_credit"):
            movements.append(CreditMovement(_source_of(books), -books["customer_credit"]))
    return movements


def _sum_transferred_credits(account_id: str, currency: str) -> dict[str, int]:
    """Return by invoice what its lines credit, with tax, of lines that were billed to another account."""
    credited_line, credited_invoice = aliased(InvoiceLine), aliased(Invoice)
    tax = sa.case((InvoiceLine.tax_inclusive, 0), else_=InvoiceLine.tax_minor)
    statement = (
        sa.select(Invoice.id, -sa.func.sum(InvoiceLine.amount_minor + tax))
        .join(InvoiceLine, InvoiceLine.invoice_id == Invoice.id)
        .join(credited_line, credited_line.id == InvoiceLine.credits_line_id)
        .join(credited_invoice, credited_invoice.id == credited_line.invoice_id)
        .where(Invoice.account_id == account_id, Invoice.currency == currency, Invoice.status != "void")
        .where(credited_invoice.account_id != account_id)
        .group_by(Invoice.id)
    )
    return {invoice_id: int(amount_minor) for invoice_id, amount_minor in db.session.execute(statement)}


def _source_of(books: dict) -> str:
    if books["kind"] == PAYOUT_KIND:
        return "payout"
    if "goodwill" in books:
        return "given"
    return "money" if "cash" in books else "invoice"


def post_payout(payout: Payout, amount_minor: int, now: datetime, payment_id: str | None = None) -> None:
    """Post that a part of the payout leaves the account's credit; with a negative amount, that it comes back."""
    ledger.post_account_journal(
        payout.account_id,
        payout.currency,
        PAYOUT_KIND,
        now,
        payment_id=payment_id,
        note=payout.id,
        customer_credit=amount_minor,
        cash=-amount_minor,
    )


def complete_payout_refund(refund: Refund, account: Account, outcome: Outcome, now: datetime) -> None:
    """Book the outcome of a refund that is a part of a payout. Idempotent. The caller holds the account's lock."""
    if refund.status not in ("pending", "unknown"):
        return
    refund.provider_reference = outcome.reference or refund.provider_reference
    refund.status = {SUCCEEDED: "succeeded", DECLINED: "failed"}.get(outcome.status, "unknown")
    payout = db.session.get_one(Payout, refund.payout_id)
    if refund.status == "succeeded":
        refund.settled_at = now
        referrals.enqueue_revocation_if_rewarded(account.id, refund.id, now)
    elif refund.status == "failed":
        _give_back(refund, payout, account, now)
    update_payout(payout, now)


def return_failed_refund(refund: Refund, account: Account, now: datetime) -> None:
    """Book that a successful refund of a payout failed after all: its money came back, and is credit again."""
    refund.status = "failed"
    payout = db.session.get_one(Payout, refund.payout_id)
    _give_back(refund, payout, account, now)
    update_payout(payout, now)


def _give_back(refund: Refund, payout: Payout, account: Account, now: datetime) -> None:
    refund.payment.refunded_minor -= refund.amount_minor
    post_payout(payout, -refund.amount_minor, now, refund.payment_id)
    db.session.flush()
    apply_new_credit(account, payout.currency, now)


def update_payout(payout: Payout, now: datetime) -> None:
    """Update the payout's status from its parts, and publish an event when it is final."""
    db.session.flush()
    refunds = db.session.scalars(sa.select(Refund).where(Refund.payout_id == payout.id)).all()
    parts = [(refund.status, refund.amount_minor) for refund in refunds]
    if payout.bank_transfer_status:
        parts.append((payout.bank_transfer_status, payout.bank_transfer_minor))
    before = payout.status, payout.paid_minor
    payout.status, payout.paid_minor = payout_status(parts, payout.amount_minor)
    payout.settled_at = None if payout.status == "pending" else now
    if payout.status != "pending" and before != (payout.status, payout.paid_minor):
        kind = "payout.paid" if payout.status == "paid" else "payout.failed"
        publish_event(kind, payout.account_id, now, **payout_payload(payout))


def payout_payload(payout: Payout) -> dict:
    """Return the event payload for a payout."""
    names = ("status", "currency", "amount_minor", "paid_minor", "reference")
    return {"payout_id": payout.id, **{name: getattr(payout, name) for name in names}}
