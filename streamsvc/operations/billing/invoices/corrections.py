"""Putting an issued invoice right without touching it: credit notes, refunds, voids.

A credit note takes back part of what was charged; what was paid of it becomes account credit, or goes back by refund.
A refund without a credit note leaves the invoice owed again.
"""

from datetime import datetime

from streamsvc import clock
from streamsvc.gateways.payments import provider
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
from streamsvc.operations.billing.core import charging, issuing, ledger
from streamsvc.operations.billing.core.aggregate import load_locked
from streamsvc.operations.billing.core.credit import apply_new_credit
from streamsvc.rules.billing.invoicing import tax_to_return
from streamsvc.rules.money import allocate_amount
from streamsvc.rules.refusals.billing import PaymentInProgress, WrongState
from streamsvc.rules.refusals.requests import Invalid
from streamsvc.storage.database import db, lock_row, new_id
from streamsvc.worker import jobs

REFUND_JOB = "refund.reconcile"


def lock_invoice(invoice_id: str) -> tuple[Account, Invoice]:
    """The invoice, under its account's lock."""
    account = lock_row(Account, db.session.get(Invoice, invoice_id).account_id)
    return account, db.session.get(Invoice, invoice_id, populate_existing=True)


def create_credit_note(invoice: Invoice, body: dict, now: datetime, credit_surplus: bool = True) -> CreditNote:
    """Write a credit note over lines, or an amount, or all that is left. Raises Invalid, WrongState."""
    if invoice.number is None or invoice.status == "void":
        raise WrongState(detail="Only an issued invoice can be credited.")
    note = CreditNote(
        id=new_id("crn"),
        account_id=invoice.account_id,
        invoice_id=invoice.id,
        number=InvoiceNumber.take(f"CN-{now.year}"),
        currency=invoice.currency,
        reason=body.get("reason"),
        issued_at=now,
    )
    parts = _allocate_to_lines(invoice, body)
    note.lines = [CreditNoteLine(line_id=line.id, net_minor=net, tax_minor=tax) for line, net, tax in parts]
    note.net_minor, note.tax_minor = sum(one.net_minor for one in note.lines), sum(one.tax_minor for one in note.lines)
    inclusive = {line.id: line.tax_inclusive for line in invoice.lines}
    note.total_minor = sum(one.net_minor + (0 if inclusive[one.line_id] else one.tax_minor) for one in note.lines)
    if not note.total_minor:
        raise Invalid(errors={"amount_minor": ["There is nothing left to credit on this invoice."]})
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
        issuing.credit_overpayment(invoice, now)
    issuing.mark_paid_if_balance_is_zero(invoice)
    return note


def _allocate_to_lines(invoice: Invoice, body: dict) -> list[tuple[InvoiceLine, int, int]]:
    """Which lines are credited: of each how much, net of tax on top, and the tax that goes back with it.

    An amount, or all that is left, is never more than the invoice asked for: what its own credits paid of its lines
    was paid on the invoice that they credit.
    """
    left = {line.id: uncredited_amount(line) for line in invoice.lines if line.kind in ("charge", "one_off")}
    lines = {line.id: line for line in invoice.lines if line.id in left}
    if body.get("lines"):
        wanted = {one["line_id"]: one["amount_minor"] for one in body["lines"]}
        if not wanted.keys() <= left.keys() or any(amount > left[line] for line, amount in wanted.items()):
            raise Invalid(errors={"lines": ["A line is not of this invoice, or has less left than that."]})
        return [(lines[line], amount, _tax_to_return(lines[line], amount)) for line, amount in wanted.items()]
    gross = {
        line: amount + _exclusive_tax(lines[line], _tax_to_return(lines[line], amount)) for line, amount in left.items()
    }
    most = min(sum(gross.values()), invoice.total_minor - sum(one.total_minor for one in invoice.credit_notes))
    amount = max(0, most) if body.get("amount_minor") is None else body["amount_minor"]
    if amount > most and amount:
        raise Invalid(errors={"amount_minor": ["That is more than is left of this invoice."]})
    shares = zip(gross, allocate_amount(amount, list(gross.values())), strict=True)
    return [(lines[line], *_split_gross(lines[line], part, left[line])) for line, part in shares if part]


def _exclusive_tax(line: InvoiceLine, tax_minor: int) -> int:
    return 0 if line.tax_inclusive else tax_minor


def _split_gross(line: InvoiceLine, gross_minor: int, left_minor: int) -> tuple[int, int]:
    """(net, tax) of that much of a line, tax included. A cent that no net amount comes to, since tax is rounded, is
    tax: it goes back the sooner for it."""
    if line.tax_inclusive:
        return gross_minor, _tax_to_return(line, gross_minor)
    net = _net_within_gross(line, gross_minor, left_minor)
    return net, gross_minor - net


def _tax_to_return(line: InvoiceLine, net_minor: int) -> int:
    given, returned = issuing.credited_amounts(line.id)
    return tax_to_return(line.tax_minor, line.net_minor, given + net_minor, returned)


def _net_within_gross(line: InvoiceLine, gross_minor: int, left_minor: int) -> int:
    """The greatest net amount that with its tax on top is no more than `gross_minor`."""
    low, high = 0, left_minor
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle + _tax_to_return(line, middle) <= gross_minor else (low, middle - 1)
    return low


def uncredited_amount(line: InvoiceLine) -> int:
    """What of a line was not given back yet."""
    return max(0, line.net_minor - issuing.credited_amounts(line.id)[0])


def refund_invoice(invoice_id: str, body: dict, now: datetime) -> Refund:
    """Give money back, with a credit note unless told otherwise. Commits. Raises Invalid, WrongState."""
    if begun := idempotency.load_checkpoint():
        return resume_refund(begun["refund"])
    _, invoice = lock_invoice(invoice_id)
    payment = _get_refundable_payment(invoice, body.get("payment_id"))
    asked_minor, left = body.get("amount_minor"), payment.left_minor
    note, amount = None, left if asked_minor is None else asked_minor
    if body.get("credit_note", True):
        note = create_credit_note(invoice, body, now, credit_surplus=False)
        whole = asked_minor is None and not body.get("lines")
        amount = min(left, note.total_minor) if whole else note.total_minor  # what credit paid becomes credit again
    if amount > left:
        raise Invalid(errors={"amount_minor": ["That is more than is left of the payment."]})
    row = Refund(
        id=new_id("ref"),
        payment_id=payment.id,
        invoice_id=invoice.id,
        credit_note_id=note and note.id,
        status="pending",
        currency=payment.currency,
        amount_minor=amount,
        reason=body.get("reason"),
        created_at=now,
    )
    payment.refunded_minor += amount
    db.session.add(row)
    db.session.flush()
    jobs.enqueue_job(REFUND_JOB, {"refund_id": row.id}, now + charging.RECONCILE_AFTER, f"reconcile {row.id}")
    idempotency.save_checkpoint(refund=row.id)
    db.session.commit()
    return send_refund(row.id)


def resume_refund(refund_id: str) -> Refund:
    """The refund, sent once more only if nobody knows what became of it."""
    row = db.session.get(Refund, refund_id)
    return send_refund(refund_id) if row.status in ("pending", "unknown") else row


def _get_refundable_payment(invoice: Invoice, payment_id: str | None) -> Payment:
    if invoice.status == "void":
        raise WrongState(detail="What came for an invoice that was void by then is the account's credit.")
    came = [one for one in invoice.payments if one.status in ("succeeded", "disputed")]
    paid = [one for one in came if one.left_minor > 0 and payment_id in (None, one.id)]
    if not paid:
        raise WrongState(detail="No payment of this invoice can be refunded.")
    return paid[-1]


def send_refund(refund_id: str) -> Refund:
    """Send a recorded refund and settle it. Not to be called inside a unit of work."""
    row = db.session.get(Refund, refund_id)
    request = (row.id, row.payment.provider_reference, row.amount_minor, row.currency)
    db.session.commit()
    outcome = provider().refund(*request)
    if outcome.status == UNKNOWN:
        outcome = provider().find(refund_id) or outcome
    return complete_refund(refund_id, outcome, clock.now())


def complete_refund(refund_id: str, outcome: Outcome, now: datetime) -> Refund:
    """Book what came of a refund; a second time changes nothing. Commits."""
    _, invoice = lock_invoice(db.session.get(Refund, refund_id).invoice_id)
    row = db.session.get(Refund, refund_id, populate_existing=True)
    if row.status in ("pending", "unknown"):
        row.provider_reference = outcome.reference
        row.status = {SUCCEEDED: "succeeded", DECLINED: "failed"}.get(outcome.status, "unknown")
        if row.status == "succeeded":
            _book_refund(row, invoice, now)
        elif row.status == "failed":
            row.payment.refunded_minor -= row.amount_minor
            issuing.credit_overpayment(invoice, now)
    if invoice.subscription_id:
        load_locked(invoice.subscription_id, now).save_projection()
    db.session.commit()
    return row


def _book_refund(row: Refund, invoice: Invoice, now: datetime) -> None:
    amount, row.settled_at = row.amount_minor, now
    ledger.post_journal("refund", invoice, now, row.payment_id, cash=-amount, receivable=amount)
    invoice.amount_paid_minor -= amount
    invoice.balance_minor += amount
    issuing.credit_overpayment(invoice, now)
    if invoice.balance_minor > 0 and invoice.status == "paid":  # owed again, and charged only when somebody asks
        invoice.status, invoice.attempts = "open", max(1, invoice.attempts)
        issuing.pay_open_invoices_from_credit(invoice.account_id, invoice.currency, now)
    elif invoice.balance_minor > 0 and invoice.status == "uncollectible":
        issuing.write_off_balance(invoice, now)


def record_refund_failure(refund_id: str, now: datetime) -> None:
    """The money that we sent came back to us: it is the customer's credit, or pays the invoice again. Commits."""
    row = db.session.get(Refund, refund_id)
    if row is None or row.status != "succeeded":
        if row and row.status != "failed":
            complete_refund(refund_id, Outcome(DECLINED, row.provider_reference), now)
        return
    _, invoice = lock_invoice(row.invoice_id)
    db.session.refresh(row)
    if row.status == "succeeded":
        amount, row.status = row.amount_minor, "failed"
        row.payment.refunded_minor -= amount
        ledger.post_journal("refund", invoice, now, row.payment_id, cash=amount, receivable=-amount)
        invoice.amount_paid_minor += amount
        invoice.balance_minor -= amount
        issuing.credit_overpayment(invoice, now)
        issuing.mark_paid_if_balance_is_zero(invoice)
        if invoice.subscription_id:
            load_locked(invoice.subscription_id, now).save_projection()
    db.session.commit()


@jobs.job_handler(REFUND_JOB)
def reconcile_refund(payload: dict, now: datetime) -> None:
    """Find out what became of a refund whose outcome we do not know."""
    row = db.session.get(Refund, payload["refund_id"])
    if row.status not in ("pending", "unknown"):
        return
    found = charging.find_outcome(row, now, row.payment.provider_reference)
    row = complete_refund(payload["refund_id"], found, now) if found else send_refund(payload["refund_id"])
    if row.status == "unknown":
        raise jobs.Retry(now + charging.RECONCILE_AFTER)


def write_off_invoice(invoice_id: str, now: datetime) -> Invoice:
    """Give up what is owed on an open invoice, and no account credit pays. Its subscription goes on, in good standing
    if nothing else is overdue.

    Raises WrongState, PaymentInProgress.
    """
    _, invoice = lock_invoice(invoice_id)
    if invoice.status != "open" or invoice.issued_at is None or invoice.balance_minor <= 0:
        raise WrongState(detail="Only what is owed on an open invoice, that is issued, can be written off.")
    if any(one.is_in_flight for one in invoice.payments):
        raise PaymentInProgress
    issuing.pay_open_invoices_from_credit(invoice.account_id, invoice.currency, now)
    issuing.mark_uncollectible(invoice, now)
    db.session.flush()
    if invoice.subscription_id:
        load_locked(invoice.subscription_id, now).save_projection()
    return invoice


def void_invoice(invoice_id: str, now: datetime) -> Invoice:
    """Take a draft or an open invoice back. Raises WrongState where something was paid or is being paid."""
    account, invoice = lock_invoice(invoice_id)
    moving = any(one.is_in_flight for one in invoice.payments)
    credited = any(issuing.credited_amounts(line.id)[0] for line in invoice.lines)
    if invoice.status not in ("draft", "open") or invoice.amount_paid_minor or credited or moving:
        raise WrongState(detail="Only an open invoice, or a draft, of which nothing was paid or credited can be void.")
    charging.book_void(invoice, now)
    invoice.finalizes_at = None
    apply_new_credit(account, invoice.currency, now)
    return invoice
