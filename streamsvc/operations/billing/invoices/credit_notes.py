"""Credit notes: they reduce what was charged; what was already paid of it becomes account credit or is refunded."""

from datetime import datetime

import sqlalchemy as sa

from streamsvc.models.subscriptions import CreditNote, CreditNoteLine, Invoice, InvoiceLine, InvoiceNumber
from streamsvc.operations.billing.core import balances, computing, gift_purchases, issuing, ledger
from streamsvc.rules.billing.inputs import CreditNoteInput
from streamsvc.rules.billing.invoicing import tax_to_credit
from streamsvc.rules.billing.number_series import credit_note_series
from streamsvc.rules.money import allocate_amount
from streamsvc.rules.refusals.billing import WrongState
from streamsvc.rules.refusals.requests import Invalid
from streamsvc.settings import current_settings
from streamsvc.storage.database import db, new_id

CREDITABLE_KINDS = ("charge", "one_off")


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
