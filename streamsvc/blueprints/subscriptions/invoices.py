"""The viewer's invoices: list, retrieve, print and pay."""

from flask import Response
from sqlalchemy import select

from streamsvc import clock
from streamsvc.http.edge import Blueprint
from streamsvc.http.idempotency import idempotent
from streamsvc.http.pagination import paginate_query
from streamsvc.http.request_facts import current_request_facts
from streamsvc.models.subscriptions import Invoice, Payment
from streamsvc.operations.billing import documents
from streamsvc.operations.billing.core import payment_limits
from streamsvc.operations.billing.payments.manual import pay_open_invoice
from streamsvc.operations.billing.subscriptions.views import invoice_view
from streamsvc.rules.inputs import PageInput
from streamsvc.rules.refusals.accounts import TooManyAttempts
from streamsvc.rules.refusals.billing import (
    AmountTooSmall,
    AuthenticationRequired,
    InvoiceNotOpen,
    PaymentFailed,
    PaymentInProgress,
)
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.schemas.base import PageQuery
from streamsvc.schemas.subscriptions.invoices import InvoiceOut, InvoicePageOut, InvoicePaymentIn, PaymentOut
from streamsvc.security.authentication import current_viewer

PDF = {"type": "string", "format": "binary"}

bp = Blueprint("invoices", __name__, url_prefix="/v1/invoices", description="Read, print and pay invoices.")

PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"


@bp.route("")
@bp.arguments(PageQuery, location="query")
@bp.response(200, InvoicePageOut)
def list_invoices(query: PageInput) -> dict:
    """List your invoices, newest first."""
    invoices = select(Invoice).where(Invoice.account_id == current_viewer().account_id)
    page = paginate_query(invoices, Invoice.id, query, "invoices")
    return page | {"items": [invoice_view(invoice) for invoice in page["items"]]}


@bp.route("/<invoice_id>")
@bp.response(200, InvoiceOut)
def get_invoice(invoice_id: str) -> dict:
    """Retrieve an invoice with its lines and payments."""
    return invoice_view(_get_own_invoice(invoice_id))


@bp.route("/<invoice_id>/html")
@bp.response(200, {"type": "string"}, content_type="text/html", description="In the customer's language.")
def get_invoice_html(invoice_id: str) -> Response:
    """Retrieve an invoice as HTML."""
    response = Response(
        documents.render_invoice_html(_get_own_invoice(invoice_id)), content_type="text/html; charset=utf-8"
    )
    response.headers["Content-Security-Policy"] = PAGE_POLICY
    return response


@bp.route("/<invoice_id>/pdf")
@bp.response(200, PDF, content_type="application/pdf", description="In the customer's language.")
def get_invoice_pdf(invoice_id: str) -> Response:
    """Retrieve an invoice as PDF."""
    invoice = _get_own_invoice(invoice_id)
    response = Response(documents.render_invoice_pdf(invoice), content_type="application/pdf")
    response.headers["Content-Disposition"] = f'attachment; filename="invoice-{invoice.number or invoice.id}.pdf"'
    return response


@bp.route("/<invoice_id>/payments", methods=["POST"])
@bp.arguments(InvoicePaymentIn)
@idempotent(required=True)
@bp.errors(AmountTooSmall, AuthenticationRequired, InvoiceNotOpen, PaymentFailed, PaymentInProgress, TooManyAttempts)
@bp.response(201, PaymentOut)
def pay_invoice(body: dict, invoice_id: str) -> Payment:
    """Pay an open invoice.

    With the default payment method, or with `payment_method_id`. All that is owed, or `amount_minor` of it; the invoice
    stays open for the rest. A declined payment is 402 `payment_failed`; after too many of them, 429
    `too_many_attempts`.
    """
    method_id = body["payment_method_id"]
    with payment_limits.limited_payment_attempt(current_viewer().account_id, current_request_facts(), method_id):
        return pay_open_invoice(_get_own_invoice(invoice_id).id, method_id, body["amount_minor"], clock.now())


def _get_own_invoice(invoice_id: str) -> Invoice:
    """Return one of the viewer's invoices. Raises NotFound."""
    invoice = Invoice.find_owned(current_viewer().account_id, invoice_id)
    if invoice is None:
        raise NotFound
    return invoice
