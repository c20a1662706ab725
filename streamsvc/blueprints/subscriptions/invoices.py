"""The viewer's invoices: list, retrieve, print and pay."""

from flask import Response

from streamsvc import clock
from streamsvc.http.edge import Blueprint
from streamsvc.http.idempotency import idempotent
from streamsvc.http.pagination import bounded_count, build_page, decode_cursor, total_members
from streamsvc.http.request_facts import current_request_facts
from streamsvc.models.subscriptions import Invoice, Payment
from streamsvc.models.subscriptions.invoice_pages import list_whole_invoices
from streamsvc.operations.billing.core import payment_limits
from streamsvc.operations.billing.documents import content
from streamsvc.operations.billing.documents.content import Document
from streamsvc.operations.billing.documents.html import render_html
from streamsvc.operations.billing.payments import refresh
from streamsvc.operations.billing.payments.manual import pay_open_invoice
from streamsvc.operations.billing.subscriptions.views import invoice_view
from streamsvc.rules.inputs import PageInput
from streamsvc.rules.refusals.accounts import TooManyAttempts
from streamsvc.rules.refusals.billing import (
    AmountTooSmall,
    EInvoiceIncomplete,
    InvoiceNotOpen,
    NoDocument,
)
from streamsvc.rules.refusals.charges import CHARGE_ERRORS
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.schemas.base import PageQuery
from streamsvc.schemas.subscriptions.invoices import InvoiceOut, InvoicePageOut, InvoicePaymentIn, PaymentOut
from streamsvc.security.principals import current_viewer
from streamsvc.storage.database import db

PDF = {"type": "string", "format": "binary"}
XML = {"type": "string"}

bp = Blueprint("invoices", __name__, url_prefix="/v1/invoices", description="Read, print and pay invoices.")

PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"


@bp.route("")
@bp.arguments(PageQuery, location="query")
@bp.response(200, InvoicePageOut)
def list_invoices(query: PageInput) -> dict:
    """List your invoices, newest first."""
    account_id, (before,) = current_viewer().account_id, decode_cursor("invoices", query["cursor"]) or [None]
    invoices = list_whole_invoices(account_id, before, query["limit"] + 1)
    page = build_page(invoices, query["limit"], "invoices", lambda invoice: [invoice.id])
    if query["include_total"]:
        page |= total_members(db.session.scalars(bounded_count(Invoice.select_owned(account_id))).one())
    return page | {"items": [invoice_view(invoice) for invoice in page["items"]]}


@bp.route("/<invoice_id>")
@bp.response(200, InvoiceOut)
def get_invoice(invoice_id: str) -> dict:
    """Retrieve an invoice with its lines and payments."""
    return invoice_view(_get_own_invoice(invoice_id))


@bp.route("/<invoice_id>/html")
@bp.errors(NoDocument)
@bp.response(200, {"type": "string"}, content_type="text/html", description="In the customer's language.")
def get_invoice_html(invoice_id: str) -> Response:
    """Retrieve an invoice as HTML."""
    return html_response(content.invoice_document(_get_own_invoice(invoice_id)))


@bp.route("/<invoice_id>/pdf")
@bp.errors(NoDocument)
@bp.response(200, PDF, content_type="application/pdf", description="In the customer's language.")
def get_invoice_pdf(invoice_id: str) -> Response:
    """Retrieve an invoice as PDF.

    A PDF/A-3 file. If the seller's data is complete, it contains the XML of EN 16931 (Factur-X, ZUGFeRD).
    """
    return pdf_response(content.invoice_document(_get_own_invoice(invoice_id)), invoice_id)


@bp.route("/<invoice_id>/xml")
@bp.errors(EInvoiceIncomplete, NoDocument)
@bp.response(200, XML, content_type="application/xml", description="UN/CEFACT CII.")
def get_invoice_xml(invoice_id: str) -> Response:
    """Retrieve an invoice as XML, the structured form of EN 16931.

    409 `einvoice_incomplete` lists what the seller or the customer had not stated when the invoice was issued.
    """
    return xml_response(content.invoice_document(_get_own_invoice(invoice_id)), invoice_id)


@bp.route("/<invoice_id>/credit-notes/<credit_note_id>/html")
@bp.response(200, {"type": "string"}, content_type="text/html", description="In the customer's language.")
def get_credit_note_html(invoice_id: str, credit_note_id: str) -> Response:
    """Retrieve a credit note as HTML."""
    return html_response(_get_own_credit_note(invoice_id, credit_note_id))


@bp.route("/<invoice_id>/credit-notes/<credit_note_id>/pdf")
@bp.response(200, PDF, content_type="application/pdf", description="In the customer's language.")
def get_credit_note_pdf(invoice_id: str, credit_note_id: str) -> Response:
    """Retrieve a credit note as PDF, in the same form as an invoice."""
    return pdf_response(_get_own_credit_note(invoice_id, credit_note_id), credit_note_id)


@bp.route("/<invoice_id>/credit-notes/<credit_note_id>/xml")
@bp.errors(EInvoiceIncomplete)
@bp.response(200, XML, content_type="application/xml", description="UN/CEFACT CII.")
def get_credit_note_xml(invoice_id: str, credit_note_id: str) -> Response:
    """Retrieve a credit note as XML, in the same form as an invoice."""
    return xml_response(_get_own_credit_note(invoice_id, credit_note_id), credit_note_id)


@bp.route("/<invoice_id>/payments", methods=["POST"])
@bp.arguments(InvoicePaymentIn)
@idempotent(required=True)
@bp.errors(*CHARGE_ERRORS, AmountTooSmall, InvoiceNotOpen)
@bp.response(201, PaymentOut)
def pay_invoice(body: dict, invoice_id: str) -> Payment:
    """Pay an open invoice.

    With the default payment method, or with `payment_method_id`. All that is owed, or `amount_minor` of it; the invoice
    stays open for the rest. A part that the provider cannot charge exactly is 422: it accepts Kuwaiti dinars, for
    instance, in steps of 10. A declined payment is 402 `payment_failed`; after too many of them, 429
    `too_many_attempts`.
    """
    method_id = body["payment_method_id"]
    with payment_limits.limited_payment_attempt(current_viewer().account_id, current_request_facts(), method_id):
        return pay_open_invoice(_get_own_invoice(invoice_id).id, method_id, body["amount_minor"], clock.now())


@bp.route("/<invoice_id>/payments/<payment_id>/refresh", methods=["POST"])
@idempotent()
@bp.errors(TooManyAttempts)
@bp.response(200, PaymentOut)
def refresh_payment(invoice_id: str, payment_id: str) -> Payment:
    """Refresh a payment from the payment provider.

    Asks the provider now, books the outcome, and returns the payment: call it after the customer has authenticated,
    instead of waiting for the provider's webhook. 503 `unavailable` if the provider does not say what happened; 30
    refreshes a minute.
    """
    payment = Payment.find_owned(current_viewer().account_id, invoice_id, payment_id)
    if payment is None:
        raise NotFound
    return refresh.refresh_payment(payment, clock.now())


def _get_own_invoice(invoice_id: str) -> Invoice:
    """Return one of the viewer's invoices. Raises NotFound."""
    invoice = Invoice.find_owned(current_viewer().account_id, invoice_id)
    if invoice is None:
        raise NotFound
    return invoice


def _get_own_credit_note(invoice_id: str, credit_note_id: str) -> Document:
    """Return the document of a credit note of one of the viewer's invoices. Raises NotFound."""
    invoice = _get_own_invoice(invoice_id)
    note = next((note for note in invoice.credit_notes if note.id == credit_note_id), None)
    if note is None:
        raise NotFound
    return content.credit_note_document(note, invoice)


def html_response(document: Document) -> Response:
    """Return the document as HTML, which may load nothing."""
    response = Response(render_html(document), content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = PAGE_POLICY
    return response


def pdf_response(document: Document, document_id: str) -> Response:
    """Return the document as a PDF to be downloaded."""
    from streamsvc.operations.billing.documents.pdf import render_pdf  # 60 MB that most processes never need

    return _download(render_pdf(document), "application/pdf", document, document_id, "pdf")


def xml_response(document: Document, document_id: str) -> Response:
    """Return the document as XML to be downloaded."""
    from streamsvc.operations.billing.documents.einvoice import render_xml  # see `pdf_response`

    return _download(render_xml(document), "application/xml", document, document_id, "xml")


def _download(data: bytes, content_type: str, document: Document, document_id: str, extension: str) -> Response:
    response = Response(data, content_type=content_type)
    name = f"{document.kind.replace('_', '-')}-{document.number or document_id}.{extension}"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
