"""Invoices for operators: charge, review, void, write off, credit, refund."""

from typing import Any

from sqlalchemy import select

from streamsvc import clock
from streamsvc.blueprints.admin.audited_resources import INVOICE
from streamsvc.http.edge import Blueprint
from streamsvc.http.idempotency import idempotent
from streamsvc.http.pagination import paginate_query
from streamsvc.models.subscriptions import CreditNote, Invoice, Payment, Refund
from streamsvc.operations.billing.core import debts
from streamsvc.operations.billing.core.credit import apply_new_credit
from streamsvc.operations.billing.invoices import corrections, credit_notes, one_off, refunds, review
from streamsvc.operations.billing.payments.manual import record_external_payment
from streamsvc.operations.billing.subscriptions.views import invoice_view
from streamsvc.operations.outbox import audit
from streamsvc.operations.outbox.audited_changes import audited, created_id
from streamsvc.rules.billing.inputs import (
    CreditNoteInput,
    InvoicesInput,
    OneOffInput,
    RecordedPaymentInput,
    RefundInput,
)
from streamsvc.rules.refusals.accounts import AccountNotActive
from streamsvc.rules.refusals.billing import GiftAlreadyRedeemed, InvoiceNotOpen, PaymentInProgress, WrongState
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.schemas.admin.subscriptions import (
    CreditNoteIn,
    DraftLineIn,
    InvoicesQuery,
    OneOffIn,
    RecordedPaymentIn,
    RefundIn,
    RefundOut,
)
from streamsvc.schemas.subscriptions.invoices import CreditNoteOut, InvoiceOut, InvoicePageOut, PaymentOut
from streamsvc.security.access import operator_only
from streamsvc.security.principals import current_operator
from streamsvc.storage.database import db

bp = Blueprint(
    "admin invoices", __name__, url_prefix="/v1/admin/invoices", description="Correct invoices and give money back."
)


@bp.route("")
@bp.arguments(InvoicesQuery, location="query")
@operator_only("billing")
@bp.response(200, InvoicePageOut)
def list_all_invoices(query: InvoicesInput) -> dict:
    """List invoices of all accounts, newest first.

    Filter by `account_id`, or by `status=draft`.
    """
    invoices = Invoice.select_drafts() if query["status"] else select(Invoice)
    if query["account_id"]:
        invoices = invoices.where(Invoice.account_id == query["account_id"])
    page = paginate_query(invoices, Invoice.id, query, "all invoices")
    return page | {"items": [invoice_view(invoice) for invoice in page["items"]]}


@bp.route("/<invoice_id>")
@operator_only("billing")
@bp.response(200, InvoiceOut)
def get_any_invoice(invoice_id: str) -> dict:
    """Retrieve an invoice of any account."""
    return invoice_view(require_invoice(invoice_id))


@bp.route("", methods=["POST"])
@bp.arguments(OneOffIn)
@operator_only("billing")
@idempotent(required=True)
@bp.errors(AccountNotActive, NotFound)
@bp.response(201, InvoiceOut)
@audited(INVOICE, created_id, "one_off_charged")
def create_one_off_invoice(body: OneOffInput) -> dict:
    """Charge an account for a one-off item.

    A declined invoice stays open and is retried on the dunning schedule.
    """
    invoice = one_off.create_one_off_charge(body["account_id"], body, clock.now())
    record_invoice_event("one_off_charged", invoice, amount_minor=body["amount_minor"], currency=body["currency"])
    return invoice_view(invoice)


@bp.route("/<invoice_id>/lines", methods=["POST"])
@bp.arguments(DraftLineIn)
@operator_only("billing")
@idempotent()
@bp.errors(WrongState)
@bp.response(201, InvoiceOut)
@audited(INVOICE, "invoice_id", "draft_line_added")
def add_draft_line(body: dict, invoice_id: str) -> dict:
    """Add a charge to a draft invoice.

    Allowed until the invoice is finalized: 409 `wrong_state` afterwards.
    """
    line = one_off.OneOffLine(body["description"], body["amount_minor"])
    invoice = review.add_draft_line(
        require_invoice(invoice_id).id, line, body["tax"] == "inclusive", clock.now(), body["tax_category"]
    )
    record_invoice_event("draft_line_added", invoice, amount_minor=line.amount_minor, currency=invoice.currency)
    return invoice_view(invoice)


@bp.route("/<invoice_id>/hold", methods=["PUT"])
@operator_only("billing")
@bp.errors(WrongState)
@bp.response(200, InvoiceOut)
@audited(INVOICE, "invoice_id", "draft_held")
def hold_draft(invoice_id: str) -> dict:
    """Hold a draft invoice.

    A held draft is not finalized or charged until it is released.
    """
    invoice = review.hold_draft(require_invoice(invoice_id).id)
    record_invoice_event("draft_held", invoice)
    db.session.commit()
    return invoice_view(invoice)


@bp.route("/<invoice_id>/hold", methods=["DELETE"])
@operator_only("billing")
@bp.errors(WrongState)
@bp.response(200, InvoiceOut)
@audited(INVOICE, "invoice_id", "draft_let_go")
def release_draft(invoice_id: str) -> dict:
    """Release a held draft invoice.

    It is finalized when its review window ends, or at once if the window is over.
    """
    invoice = review.release_draft(require_invoice(invoice_id).id, clock.now())
    record_invoice_event("draft_let_go", invoice)
    db.session.commit()
    return invoice_view(invoice)


@bp.route("/<invoice_id>/void", methods=["POST"])
@operator_only("billing")
@idempotent()
@bp.errors(WrongState)
@bp.response(200, InvoiceOut)
@audited(INVOICE, "invoice_id", "invoice_voided")
def void_invoice(invoice_id: str) -> dict:
    """Void an invoice.

    Drafts and open invoices on which nothing was paid or credited.
    """
    invoice = corrections.void_invoice(require_invoice(invoice_id).id, clock.now())
    record_invoice_event("invoice_voided", invoice)
    return invoice_view(invoice)


@bp.route("/<invoice_id>/write-off", methods=["POST"])
@operator_only("billing")
@idempotent()
@bp.errors(PaymentInProgress, WrongState)
@bp.response(200, InvoiceOut)
@audited(INVOICE, "invoice_id", "invoice_written_off")
def write_off_invoice(invoice_id: str) -> dict:
    """Write off an open invoice as uncollectible.

    The subscription continues, and the customer may still pay.
    """
    invoice = corrections.write_off_invoice(require_invoice(invoice_id).id, clock.now())
    record_invoice_event(
        "invoice_written_off", invoice, amount_minor=debts.written_off_amount(invoice), currency=invoice.currency
    )
    return invoice_view(invoice)


@bp.route("/<invoice_id>/credit-notes", methods=["POST"])
@bp.arguments(CreditNoteIn)
@operator_only("billing")
@idempotent()
@bp.errors(GiftAlreadyRedeemed, WrongState)
@bp.response(201, CreditNoteOut)
@audited(INVOICE, "invoice_id", "credit_note_issued")
def create_credit_note(body: CreditNoteInput, invoice_id: str) -> CreditNote:
    """Create a credit note.

    Credits the given lines, an amount, or all that is left. The part that was paid becomes account credit or is
    refunded. The invoice of a bought gift is credited as a whole, which revokes its code; of a redeemed gift, credit is
    possible but no refund: 409 `gift_already_redeemed`.
    """
    invoice = require_invoice(invoice_id)
    if body["refund"]:
        payment: RefundInput = {
            "amount_minor": body["amount_minor"],
            "payment_id": None,
            "credit_note": True,
            "reason": body["reason"],
        }
        refund = refunds.refund_invoice(invoice.id, payment, clock.now(), body["lines"])
        note = db.session.get_one(CreditNote, refund.credit_note_id)
    else:
        account, invoice = corrections.lock_invoice(invoice.id)
        note = credit_notes.create_credit_note(invoice, body, clock.now())
        apply_new_credit(account, invoice.currency, clock.now())
    amount = {"amount_minor": note.total_minor, "currency": note.currency}
    record_invoice_event("credit_note_issued", invoice, credit_note=note.number, **amount)
    return note


@bp.route("/<invoice_id>/payments", methods=["POST"])
@bp.arguments(RecordedPaymentIn)
@operator_only("billing")
@idempotent(required=True)
@bp.errors(InvoiceNotOpen, PaymentInProgress)
@bp.response(201, PaymentOut)
@audited(INVOICE, "invoice_id", "payment_recorded")
def record_payment(body: RecordedPaymentInput, invoice_id: str) -> Payment:
    """Record a payment that came in outside the payment provider.

    Such as a bank transfer: all that is owed, or `amount_minor` of it; the invoice stays open for the rest. Refunds of
    it are recorded only: return the money the way it came.
    """
    payment = record_external_payment(require_invoice(invoice_id).id, body, clock.now())
    amount = {"amount_minor": payment.amount_minor, "currency": payment.currency}
    record_invoice_event("payment_recorded", require_invoice(invoice_id), payment=payment.id, **amount)
    return payment


@bp.route("/<invoice_id>/refunds", methods=["POST"])
@bp.arguments(RefundIn)
@operator_only("billing")
@idempotent()
@bp.errors(GiftAlreadyRedeemed, WrongState)
@bp.response(201, RefundOut)
@audited(INVOICE, "invoice_id", "payment_refunded")
def create_refund(body: RefundInput, invoice_id: str) -> Refund:
    """Refund a payment.

    The money goes back to the payment method that was charged. If the invoice has several payments and none is named,
    they are refunded one after another, the latest first; the response is the refund of the latest. Refunding a bought
    gift revokes its code; a redeemed one is 409 `gift_already_redeemed`.
    """
    refund = refunds.refund_invoice(require_invoice(invoice_id).id, body, clock.now())
    amount = {"amount_minor": refund.amount_minor, "currency": refund.currency}
    record_invoice_event("payment_refunded", require_invoice(invoice_id), refund=refund.id, **amount)
    return refund


def require_invoice(invoice_id: str) -> Invoice:
    """Return the invoice. Raises NotFound."""
    invoice = db.session.get(Invoice, invoice_id)
    if invoice is None:
        raise NotFound
    return invoice


def record_invoice_event(action: str, invoice: Invoice, **details: Any) -> None:
    """Record an action on the invoice in the audit log."""
    audit.record_event(action, invoice.account_id, actor=current_operator().id, invoice=invoice.id, **details)
