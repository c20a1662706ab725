"""Corrections to issued invoices, which are never edited: credit notes, refunds, voids, and write-offs.

A credit note reduces what was charged; what was already paid of it becomes account credit or is refunded. A refund
without a credit note leaves the amount owed on the invoice again.
"""

from datetime import datetime

import sqlalchemy as sa

from streamsvc import clock
from streamsvc.gateways.payments import charge_step_minor, current_provider
from streamsvc.gateways.payments.interface import DECLINED, SUCCEEDED, UNKNOWN, Outcome
from streamsvc.http import idempotency
from streamsvc.models import Account
from streamsvc.models.subscriptions import (
    CreditNote,
    CreditNoteLine,
    Invoice,
    InvoiceLine,
    InvoiceNumber,
    Payment,
    Refund,
)
from streamsvc.models.subscriptions.payments import EXTERNAL_PROVIDER
from streamsvc.operations.billing.core import (
    balances,
    charging,
    computing,
    gift_purchases,
    issuing,
    ledger,
    payouts,
    referrals,
    voiding,
)
from streamsvc.operations.billing.core.aggregate import update_live_subscription
from streamsvc.operations.billing.core.credit import apply_new_credit
from streamsvc.rules.billing.inputs import CreditNoteInput, CreditNoteLineInput, RefundInput
from streamsvc.rules.billing.invoicing import tax_to_credit
from streamsvc.rules.billing.number_series import credit_note_series
from streamsvc.rules.money import allocate_amount, round_down
from streamsvc.rules.refusals.billing import PaymentInProgress, WrongState
from streamsvc.rules.refusals.requests import Invalid
from streamsvc.settings import current_settings
from streamsvc.storage.database import db, lock_existing_row, new_id
from streamsvc.worker import jobs

REFUND_JOB = "refund.reconcile"
CREDITABLE_KINDS = ("charge", "one_off")


def lock_invoice(invoice_id: str) -> tuple[Account, Invoice]:
    """Return the invoice's account and the invoice, under the account's lock."""
    account = lock_existing_row(Account, db.session.get_one(Invoice, invoice_id).account_id)
    return account, db.session.get_one(Invoice, invoice_id, populate_existing=True)


def create_credit_note(
    invoice: Invoice, body: CreditNoteInput, now: datetime, credit_surplus: bool = True
) -> CreditNote:
    """Create a credit note for the body's `lines`, its `amount_minor`, or everything not yet credited.

    `credit_surplus`: turn what is overpaid as a result into account credit; otherwise the caller refunds it and updates
    the invoice's status. Raises Invalid, WrongState.
    """
    if invoice.number is None or invoice.status == "void":
        raise WrongState(detail="Only an issued invoice can be credited.")
    _revoke_credited_gift(invoice, body, now)
    note = CreditNote(
        id=new_id("crn"),
        account_id=invoice.account_id,
        invoice_id=invoice.id,
        number=InvoiceNumber.allocate(_credit_note_series(invoice, now)),
        currency=invoice.currency,
        reason=body["reason"],
        issued_at=now,
    )
    allocations = _allocate_to_lines(invoice, body)
    note.lines = [CreditNoteLine(line_id=line.id, net_minor=net, tax_minor=tax) for line, net, tax in allocations]
    note.net_minor, note.tax_minor = (
        sum(line.net_minor for line in note.lines),
        sum(line.tax_minor for line in note.lines),
    )
    inclusive = {line.id: line.tax_inclusive for line in invoice.lines}
    note.total_minor = sum(line.net_minor + (0 if inclusive[line.line_id] else line.tax_minor) for line in note.lines)
    if not note.total_minor:
        raise Invalid(errors={"amount_minor": ["Nothing is left to credit on this invoice."]})
    if note.total_minor > uncredited_total(invoice):
        raise Invalid(errors={"lines": ["Must not exceed what is left to credit on this invoice."]})
    db.session.add(note)
    db.session.flush()
    ledger.post_journal(
        "credit_note",
        invoice,
        now,
        revenue=note.total_minor - note.tax_minor,
        tax=note.tax_minor,
        receivable=-note.total_minor,
    )
    invoice.balance_minor -= note.total_minor
    if credit_surplus:
        balances.credit_overpayment(invoice, now)
        balances.update_status(invoice, now)
    return note


def _revoke_credited_gift(invoice: Invoice, body: CreditNoteInput, now: datetime) -> None:
    """Revoke the code of a gift whose invoice is credited, unless it was redeemed. Raises Invalid for a part of it."""
    if not gift_purchases.has_usable_code(invoice):
        return
    if body["lines"] or body["amount_minor"] not in (None, creditable_amount(invoice)):
        raise Invalid(errors={"amount_minor": ["A gift that was not redeemed is credited as a whole."]})
    gift_purchases.revoke_code(invoice, "refund", now)


def _credit_note_series(invoice: Invoice, now: datetime) -> str:
    is_shared = current_settings().credit_note_series == "shared"
    return credit_note_series(*issuing.numbering_of(invoice), now, is_shared)


def _allocate_to_lines(invoice: Invoice, body: CreditNoteInput) -> list[tuple[InvoiceLine, int, int]]:
    """Return (line, net amount, tax to return) for each line to be credited. Raises Invalid.

    The net amount excludes exclusive tax. An amount, or everything left, is capped at the invoice's total: what its own
    credit lines paid of the other lines was paid on the invoices that they credit.
    """
    uncredited = {line.id: uncredited_amount(line) for line in invoice.lines if line.kind in CREDITABLE_KINDS}
    lines = {line.id: line for line in invoice.lines if line.id in uncredited}
    if body["lines"]:
        if len({line_body["line_id"] for line_body in body["lines"]}) < len(body["lines"]):
            raise Invalid(errors={"lines": ["Each line may be named only once."]})
        requested = {line_body["line_id"]: line_body["amount_minor"] for line_body in body["lines"]}
        if not requested.keys() <= uncredited.keys() or any(
            amount_minor > uncredited[line] for line, amount_minor in requested.items()
        ):
            raise Invalid(
                errors={
                    "lines": ["Each line must belong to this invoice and have at least that amount left to credit."]
                }
            )
        return [
            (lines[line], amount_minor, _tax_to_return(lines[line], amount_minor))
            for line, amount_minor in requested.items()
        ]
    gross_by_line = {line: _gross_left(lines[line], amount_minor) for line, amount_minor in uncredited.items()}
    max_minor = creditable_amount(invoice)
    amount_minor = max(0, max_minor) if body["amount_minor"] is None else body["amount_minor"]
    if amount_minor > max_minor and amount_minor:
        raise Invalid(errors={"amount_minor": ["Must not exceed what is left to credit on this invoice."]})
    shares = zip(gross_by_line, allocate_amount(amount_minor, list(gross_by_line.values())), strict=True)
    return [
        (lines[line], *_split_gross(lines[line], share_minor, uncredited[line]))
        for line, share_minor in shares
        if share_minor
    ]


def creditable_amount(invoice: Invoice) -> int:
    """Return what is left to credit on the invoice, with tax: at most its total."""
    lines = [line for line in invoice.lines if line.kind in CREDITABLE_KINDS]
    left_minor = sum(_gross_left(line, uncredited_amount(line)) for line in lines)
    return min(left_minor, uncredited_total(invoice))


def _gross_left(line: InvoiceLine, net_minor: int) -> int:
    return net_minor + _exclusive_tax(line, _tax_to_return(line, net_minor))


def _exclusive_tax(line: InvoiceLine, tax_minor: int) -> int:
    return 0 if line.tax_inclusive else tax_minor


def _split_gross(line: InvoiceLine, gross_minor: int, left_minor: int) -> tuple[int, int]:
    """Split a gross amount of a line into (net, tax).

    Rounding can leave a cent of gross that no net amount reaches. It counts as tax, which is then returned earlier.
    """
    if line.tax_inclusive:
        return gross_minor, _tax_to_return(line, gross_minor)
    net = _net_within_gross(line, gross_minor, left_minor)
    return net, gross_minor - net


def _tax_to_return(line: InvoiceLine, net_minor: int) -> int:
    credited_minor, returned_minor = computing.credited_amounts(line.id)
    return tax_to_credit(line.tax_minor, line.net_minor, credited_minor + net_minor, returned_minor)


def _net_within_gross(line: InvoiceLine, gross_minor: int, left_minor: int) -> int:
    """Return the largest net amount that, with its exclusive tax, does not exceed `gross_minor`."""
    low, high = 0, left_minor
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle + _tax_to_return(line, middle) <= gross_minor else (low, middle - 1)
    return low


def uncredited_total(invoice: Invoice) -> int:
    """Return what is left of the invoice's total after its credit notes, read under the account's lock."""
    credited = sa.select(sa.func.coalesce(sa.func.sum(CreditNote.total_minor), 0))
    return invoice.total_minor - int(db.session.scalars(credited.where(CreditNote.invoice_id == invoice.id)).one())


def uncredited_amount(line: InvoiceLine) -> int:
    """Return the net amount of a line that has not been credited yet."""
    return max(0, line.net_minor - computing.credited_amounts(line.id)[0])


def refund_invoice(
    invoice_id: str, body: RefundInput, now: datetime, lines: list[CreditNoteLineInput] | None = None
) -> Refund:
    """Refund payments of the invoice, the latest first, with a credit note unless `credit_note` is false. Commits.

    What the provider cannot refund exactly is rounded down; the rest of a credit note becomes account credit.
    `lines`: the lines to credit; default: the amount. Returns the refund of the latest payment. Raises Invalid,
    WrongState, GiftAlreadyRedeemed.
    """
    if checkpoint := idempotency.load_checkpoint():
        latest, *_ = [resume_refund(refund_id) for refund_id in checkpoint["refunds"]]
        return latest
    account, invoice = lock_invoice(invoice_id)
    payments = _list_refundable_payments(invoice, body["payment_id"])
    if not body["credit_note"] and gift_purchases.has_usable_code(invoice):
        raise Invalid(errors={"credit_note": ["Must be true for a gift that was not redeemed."]})
    requested_minor, refundable_minor = body["amount_minor"], sum(payment.refundable_minor for payment in payments)
    if requested_minor is None and not lines and len(payments) < len(_list_refundable_payments(invoice, None)):
        requested_minor = refundable_minor  # of one of several payments
    note, amount_minor = None, refundable_minor if requested_minor is None else requested_minor
    if body["credit_note"]:
        credited: CreditNoteInput = {
            "lines": lines,
            "amount_minor": requested_minor,
            "refund": True,
            "reason": body["reason"],
        }
        note = create_credit_note(invoice, credited, now, credit_surplus=False)
        is_full_refund = requested_minor is None and not lines
        # Without an amount only what the payment paid is refunded: what account credit paid becomes credit again.
        amount_minor = min(refundable_minor, note.total_minor) if is_full_refund else note.total_minor
    gift_purchases.require_not_redeemed(invoice)  # by now its code is revoked, unless somebody was faster
    if amount_minor > refundable_minor:
        raise Invalid(errors={"amount_minor": ["Must not exceed what is left of the payment."]})
    refund_ids = []
    for payment in payments:
        part_minor = round_down(min(amount_minor, payment.refundable_minor), _refund_step_minor(payment))
        if part_minor:
            refund_ids.append(create_refund(payment, part_minor, note, body["reason"], now).id)
        amount_minor -= part_minor
    if not refund_ids:
        raise Invalid(errors={"amount_minor": ["Must not be less than the smallest amount that can be refunded."]})
    balances.update_status(invoice, now)
    update_live_subscription(account, now)
    idempotency.save_checkpoint(refunds=refund_ids)
    db.session.commit()
    latest, *_ = [send_refund(refund_id) for refund_id in refund_ids]
    return latest


def _refund_step_minor(payment: Payment) -> int:
    """Return the amount of which every refund of the payment is a multiple."""
    return 1 if payment.provider == EXTERNAL_PROVIDER else charge_step_minor(payment.currency)


def create_refund(
    payment: Payment,
    amount_minor: int,
    note: CreditNote | None,
    reason: str | None,
    now: datetime,
    payout_id: str | None = None,
) -> Refund:
    """Record a refund about to be sent, and enqueue its reconciliation.

    `note`: the credit note that it pays out. `payout_id`: the payout of account credit that it is a part of.
    """
    refund = record_refund(payment, amount_minor, note, reason, now, payout_id)
    jobs.enqueue_job(REFUND_JOB, {"refund_id": refund.id}, now + charging.RECONCILE_AFTER, f"reconcile {refund.id}")
    return refund


def record_refund(
    payment: Payment,
    amount_minor: int,
    note: CreditNote | None,
    reason: str | None,
    now: datetime,
    payout_id: str | None = None,
) -> Refund:
    """Record a pending refund of a part of a payment, which counts as refunded from now on."""
    refund = Refund(
        id=new_id("ref"),
        payment_id=payment.id,
        invoice_id=payment.invoice_id,
        credit_note_id=note and note.id,
        payout_id=payout_id,
        status="pending",
        currency=payment.currency,
        amount_minor=amount_minor,
        reason=reason,
        created_at=now,
    )
    payment.refunded_minor += amount_minor
    db.session.add(refund)
    db.session.flush()
    return refund


def resume_refund(refund_id: str) -> Refund:
    """Return the refund, sending it again only if its outcome is unknown."""
    refund = db.session.get_one(Refund, refund_id)
    return send_refund(refund_id) if refund.status in ("pending", "unknown") else refund


def _list_refundable_payments(invoice: Invoice, payment_id: str | None) -> list[Payment]:
    """List the payments of which something is left, the latest first. Raises WrongState if there is none."""
    if invoice.status == "void":
        raise WrongState(detail="Payments of a void invoice became account credit and cannot be refunded.")
    successful = [payment for payment in invoice.payments if payment.status in ("succeeded", "disputed")]
    refundable = [
        payment
        for payment in successful
        if payment.refundable_minor >= _refund_step_minor(payment) and payment_id in (None, payment.id)
    ]
    if not refundable:
        raise WrongState(detail="No payment of this invoice can be refunded.")
    return refundable[::-1]


def send_refund(refund_id: str) -> Refund:
    """Send a recorded refund to the provider and complete it. Commits. Must not be called inside a transaction.

    What came in outside the provider is returned by the operator, outside of it too.
    """
    refund = db.session.get_one(Refund, refund_id)
    if refund.payment.provider == EXTERNAL_PROVIDER:
        return complete_refund(refund_id, Outcome(SUCCEEDED), clock.now())
    charge_reference = refund.payment.provider_reference
    assert charge_reference is not None, "only a payment that the provider confirmed is refunded"
    request = (refund.id, charge_reference, refund.amount_minor, refund.currency)
    db.session.commit()
    outcome = current_provider().refund(*request)
    if outcome.status == UNKNOWN:
        outcome = current_provider().find_outcome(refund_id) or outcome
    return complete_refund(refund_id, outcome, clock.now())


def complete_refund(refund_id: str, outcome: Outcome, now: datetime) -> Refund:
    """Book the outcome of a refund. Idempotent. Commits."""
    account, invoice = lock_invoice(db.session.get_one(Refund, refund_id).invoice_id)
    refund = db.session.get_one(Refund, refund_id, populate_existing=True)
    if refund.payout_id:
        payouts.complete_payout_refund(refund, account, outcome, now)
    elif refund.status in ("pending", "unknown"):
        refund.provider_reference = outcome.reference
        refund.status = {SUCCEEDED: "succeeded", DECLINED: "failed"}.get(outcome.status, "unknown")
        if refund.status == "succeeded":
            book_refund(refund, invoice, now)
            referrals.enqueue_revocation_if_rewarded(account.id, refund.id, now)
        elif refund.status == "failed":
            refund.payment.refunded_minor -= refund.amount_minor
            balances.credit_overpayment(invoice, now)
            balances.update_status(invoice, now)
    update_live_subscription(account, now)
    db.session.commit()
    return refund


def book_refund(refund: Refund, invoice: Invoice, now: datetime) -> None:
    """Book a successful refund: what no credit note covers is owed again."""
    amount_minor, refund.settled_at = refund.amount_minor, now
    ledger.post_journal("refund", invoice, now, refund.payment_id, cash=-amount_minor, receivable=amount_minor)
    invoice.amount_paid_minor -= amount_minor
    invoice.balance_minor += amount_minor
    balances.credit_overpayment(invoice, now)
    balances.collect_reowed_amount(invoice, now)


def record_refund_failure(refund_id: str, now: datetime) -> None:
    """Record that a refund failed. Commits.

    The returned money of a successful refund pays the invoice again; what exceeds its balance becomes account credit.
    """
    refund = db.session.get(Refund, refund_id)
    if refund is None or refund.status != "succeeded":
        if refund and refund.status != "failed":
            complete_refund(refund_id, Outcome(DECLINED, refund.provider_reference), now)
        return
    account, invoice = lock_invoice(refund.invoice_id)
    db.session.refresh(refund)
    if refund.status == "succeeded" and refund.payout_id:
        payouts.return_failed_refund(refund, account, now)
    elif refund.status == "succeeded":
        amount_minor, refund.status = refund.amount_minor, "failed"
        refund.payment.refunded_minor -= amount_minor
        ledger.post_journal("refund", invoice, now, refund.payment_id, cash=amount_minor, receivable=-amount_minor)
        invoice.amount_paid_minor += amount_minor
        invoice.balance_minor -= amount_minor
        balances.credit_overpayment(invoice, now)
        balances.update_status(invoice, now)
        update_live_subscription(account, now)
    db.session.commit()


@jobs.job_handler(REFUND_JOB)
def reconcile_refund(payload: dict, now: datetime) -> None:
    """Look up the outcome of an unresolved refund at the provider and complete it.

    Raises Retry while it is unknown.
    """
    refund = db.session.get_one(Refund, payload["refund_id"])
    if refund.status not in ("pending", "unknown"):
        return
    if refund.payment.provider == EXTERNAL_PROVIDER:
        send_refund(refund.id)
        return
    outcome = charging.find_outcome(refund, now, refund.payment.provider_reference)
    refund = complete_refund(payload["refund_id"], outcome, now) if outcome else send_refund(payload["refund_id"])
    if refund.status == "unknown":
        raise jobs.Retry(now + charging.RECONCILE_AFTER)


def write_off_invoice(invoice_id: str, now: datetime) -> Invoice:
    """Write off what is owed on an open invoice after applying account credit.

    Its subscription continues, and is no longer past due unless another invoice is overdue. Raises WrongState,
    PaymentInProgress.
    """
    account, invoice = lock_invoice(invoice_id)
    if invoice.status != "open" or invoice.issued_at is None or invoice.balance_minor <= 0:
        raise WrongState(detail="Only an issued, open invoice with a positive balance can be written off.")
    if any(payment.is_in_flight for payment in invoice.payments):
        raise PaymentInProgress
    balances.pay_open_invoices_from_credit(invoice.account_id, invoice.currency, now)
    balances.mark_uncollectible(invoice, now)
    update_live_subscription(account, now)
    return invoice


def void_invoice(invoice_id: str, now: datetime) -> Invoice:
    """Void a draft or an open invoice. Raises WrongState if any of it was paid, credited, or is being paid."""
    account, invoice = lock_invoice(invoice_id)
    is_in_flight = any(payment.is_in_flight for payment in invoice.payments)
    is_credited = any(computing.credited_amounts(line.id)[0] for line in invoice.lines)
    if invoice.status not in ("draft", "open") or invoice.amount_paid_minor or is_credited or is_in_flight:
        raise WrongState(detail="Only a draft or open invoice with no payments or credits can be voided.")
    voiding.book_void(invoice, now)
    invoice.finalizes_at = None
    apply_new_credit(account, invoice.currency, now)
    return invoice
