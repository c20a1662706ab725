"""POST /v1/admin/invoices · /{id}/void · /credit-notes · /refunds."""

from streamsvc import clock
from streamsvc.database import db
from streamsvc.idempotency import idempotent
from streamsvc.login import asking_operator, operator
from streamsvc.models.subscriptions import Invoice
from streamsvc.operations import audit
from streamsvc.operations.billing import corrections, one_off
from streamsvc.operations.billing.credit import after_credit
from streamsvc.operations.billing.views import invoice_view
from streamsvc.rules.refusals import NotFound
from streamsvc.schemas.subscriptions_admin import CreditNoteIn, OneOffIn, RefundIn, RefundOut
from streamsvc.schemas.subscriptions_invoices import CreditNoteOut, InvoiceOut
from streamsvc.web import Blueprint

bp = Blueprint("admin invoices", __name__, url_prefix="/v1/admin/invoices", description="Putting invoices right.")


@bp.route("/<invoice_id>")
@operator("billing")
@bp.response(200, InvoiceOut)
def get_invoice(invoice_id):
    """Any account's invoice."""
    return invoice_view(found(invoice_id))


@bp.route("", methods=["POST"])
@bp.arguments(OneOffIn)
@operator("billing")
@idempotent(required=True)
@bp.response(201, InvoiceOut)
def charge_once(asked):
    """Charge an account for something by itself. What is declined stays open, and is tried again on later days."""
    invoice = one_off.charge(asked["account_id"], asked, clock.now())
    noted("one_off_charged", invoice, amount_minor=asked["amount_minor"], currency=asked["currency"])
    return invoice_view(invoice)


@bp.route("/<invoice_id>/void", methods=["POST"])
@operator("billing")
@idempotent()
@bp.response(200, InvoiceOut)
def void(invoice_id):
    """Take an open invoice back, of which nothing was paid."""
    invoice = corrections.void(found(invoice_id).id, clock.now())
    noted("invoice_voided", invoice)
    return invoice_view(invoice)


@bp.route("/<invoice_id>/credit-notes", methods=["POST"])
@bp.arguments(CreditNoteIn)
@operator("billing")
@idempotent()
@bp.response(201, CreditNoteOut)
def write_credit_note(asked, invoice_id):
    """Credit lines, an amount, or all that is left. What was paid of it becomes account credit, or goes back."""
    invoice = found(invoice_id)
    if asked["refund"]:
        row = corrections.refund(invoice.id, asked, clock.now())
        note = db.session.get(corrections.CreditNote, row.credit_note_id)
    else:
        account, invoice = corrections.locked(invoice.id)
        note = corrections.credit_note(invoice, asked, clock.now())
        after_credit(account, invoice.currency, clock.now())
    noted("credit_note_issued", invoice, credit_note=note.number)
    return note


@bp.route("/<invoice_id>/refunds", methods=["POST"])
@bp.arguments(RefundIn)
@operator("billing")
@idempotent()
@bp.response(201, RefundOut)
def give_refund(asked, invoice_id):
    """Give money back to the card it came from."""
    row = corrections.refund(found(invoice_id).id, asked, clock.now())
    noted("payment_refunded", found(invoice_id), refund=row.id)
    return row


def found(invoice_id):
    invoice = db.session.get(Invoice, invoice_id)
    if invoice is None:
        raise NotFound
    return invoice


def noted(action, invoice, **details):
    audit.record(action, invoice.account_id, actor=asking_operator().id, invoice=invoice.id, **details)
