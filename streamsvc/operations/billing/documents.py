"""Invoice documents: HTML and PDF, in the language of the customer that the invoice was issued to."""

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from streamsvc.models.subscriptions import Invoice, InvoiceLine
from streamsvc.rules.billing.invoice_labels import invoice_labels
from streamsvc.rules.billing.invoice_pdf import MARGIN, WIDTH, render_pdf
from streamsvc.rules.money import format_decimal

RIGHT_ALIGNED_X = WIDTH - MARGIN


@cache
def _template_environment() -> Environment:
    loader = PackageLoader("streamsvc", "pages/templates")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined)


def document_context(invoice: Invoice) -> dict:
    """Return the texts that both the HTML and the PDF show."""
    language, words = invoice_labels(invoice.customer.get("locale"))
    inclusive = any(line.tax_inclusive and line.tax_minor for line in invoice.lines)
    tax_name = invoice.tax_name or words["tax"]
    tax = f"{tax_name} {format_invoice_amount(invoice, invoice.tax_minor)}"
    amounts = [
        (words["subtotal"], invoice.subtotal_minor, True),
        (words["discount"], -invoice.discount_minor, invoice.discount_minor),
        (tax_name, invoice.tax_minor, invoice.tax_minor and not inclusive),
        (words["total"], invoice.total_minor, True),
        (words["credit"], -invoice.credit_applied_minor, invoice.credit_applied_minor),
        (words["amount_due"], invoice.amount_due_minor, True),
        (words["paid"], invoice.amount_paid_minor, True),
    ]
    return {
        "language": language,
        "words": words,
        "number": invoice.number or words["draft"],
        "issued": (invoice.issued_at or invoice.created_at).date().isoformat(),
        "due": invoice.due_date.isoformat(),
        "customer": customer_lines(invoice.customer, words),
        "reverse_charge": words["reverse_charge"] if invoice.customer.get("vat_id") else None,
        "lines": [line_columns(invoice, line) for line in invoice.lines],
        "sums": [(name, format_invoice_amount(invoice, amount)) for name, amount, is_shown in amounts if is_shown],
        "contained": words["included_tax"].format(tax=tax) if inclusive else None,
        "notes": [(note.number, format_invoice_amount(invoice, -note.total_minor)) for note in invoice.credit_notes],
    }


def customer_lines(customer: dict, words: dict) -> list[str]:
    """Return the customer's lines; under reverse charge with both VAT numbers, as the law requires."""
    lines = [customer[name] for name in ("name", "email", "country") if customer.get(name)]
    if customer.get("vat_id"):
        lines += [f"{words['vat_id']}: {customer['vat_id']}", f"{words['our_vat_id']}: {customer['seller_vat_id']}"]
    return lines


def line_columns(invoice: Invoice, line: InvoiceLine) -> tuple[str, str, str]:
    """Return the description, the period, and the amount of a line."""
    period = f"{line.period_start} – {line.period_end}" if line.period_start else ""
    return line.description, period, format_invoice_amount(invoice, line.amount_minor)


def format_invoice_amount(invoice: Invoice, amount_minor: int) -> str:
    """Format an amount in the invoice's currency."""
    return f"{format_decimal(amount_minor, invoice.currency)} {invoice.currency}"


def render_invoice_html(invoice: Invoice) -> str:
    """Render the invoice as an HTML page."""
    return _template_environment().get_template("invoice.html").render(document_context(invoice))


def render_invoice_pdf(invoice: Invoice) -> bytes:
    """Render the invoice as a PDF."""
    context = document_context(invoice)
    words = context["words"]
    title = f"{words['invoice']} {context['number']}"
    rows = [[(MARGIN, title, 18, True, False)], None]
    rows.append(
        [(MARGIN, f"{words['date']}: {context['issued']}   {words['due']}: {context['due']}", 10, False, False)]
    )
    rows += [[(MARGIN, line, 10, False, False)] for line in context["customer"]] + [None, None]
    rows.append([(MARGIN, words["description"], 10, True, False), (RIGHT_ALIGNED_X, words["amount"], 10, True, True)])
    for description, period, amount in context["lines"]:
        rows.append([(MARGIN, description, 10, False, False), (RIGHT_ALIGNED_X, amount, 10, False, True)])
        rows += [[(MARGIN + 12, period, 8, False, False)]] if period else []
    rows.append(None)
    for name, amount in [*context["sums"], *context["notes"]]:
        rows.append([(WIDTH // 2, name, 10, False, False), (RIGHT_ALIGNED_X, amount, 10, False, True)])
    if context["contained"]:
        rows.append([(WIDTH // 2, context["contained"], 8, False, False)])
    if context["reverse_charge"]:
        rows += [None, [(MARGIN, context["reverse_charge"], 8, False, False)]]
    return render_pdf(rows, title)
