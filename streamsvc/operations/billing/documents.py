"""An invoice for people: HTML and PDF, in the language of the customer it was issued to."""

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from streamsvc.models.subscriptions import Invoice
from streamsvc.rules.billing.paper import MARGIN, WIDTH, pdf
from streamsvc.rules.billing.words import words_for
from streamsvc.rules.money import format_decimal

RIGHT_ALIGNED_X = WIDTH - MARGIN


@cache
def _template_environment() -> Environment:
    loader = PackageLoader("streamsvc", "pages/templates")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined)


def document_context(invoice: Invoice) -> dict:
    """What both forms show, as text."""
    language, words = words_for(invoice.customer.get("locale"))
    inclusive = any(line.tax_inclusive and line.tax_minor for line in invoice.lines)
    tax_name = invoice.tax_name or words["tax"]
    tax = f"{tax_name} {format_invoice_amount(invoice, invoice.tax_minor)}"
    sums = [
        (words["subtotal"], invoice.subtotal_minor, True),
        (words["discount"], -invoice.discount_minor, invoice.discount_minor),
        (tax_name, invoice.tax_minor, invoice.tax_minor and not inclusive),
        (words["total"], invoice.total_minor, True),
        (words["credit"], -invoice.credit_applied_minor, invoice.credit_applied_minor),
        (words["asked"], invoice.amount_due_minor, True),
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
        "sums": [(name, format_invoice_amount(invoice, amount)) for name, amount, shown in sums if shown],
        "contained": words["of_tax"].format(tax=tax) if inclusive else None,
        "notes": [(note.number, format_invoice_amount(invoice, -note.total_minor)) for note in invoice.credit_notes],
    }


def customer_lines(customer: dict, words: dict) -> list[str]:
    """Who is billed; with both VAT numbers where the tax is for the customer to pay, as the law asks."""
    shown = [customer[name] for name in ("name", "email", "country") if customer.get(name)]
    if customer.get("vat_id"):
        shown += [f"{words['vat_id']}: {customer['vat_id']}", f"{words['our_vat_id']}: {customer['seller_vat_id']}"]
    return shown


def line_columns(invoice: Invoice, line) -> tuple[str, str, str]:
    period = f"{line.period_start} – {line.period_end}" if line.period_start else ""
    return line.description, period, format_invoice_amount(invoice, line.amount_minor)


def format_invoice_amount(invoice: Invoice, amount_minor: int) -> str:
    return f"{format_decimal(amount_minor, invoice.currency)} {invoice.currency}"


def render_invoice_html(invoice: Invoice) -> str:
    return _template_environment().get_template("invoice.html").render(document_context(invoice))


def render_invoice_pdf(invoice: Invoice) -> bytes:
    """The same on paper."""
    shown = document_context(invoice)
    words = shown["words"]
    title = f"{words['invoice']} {shown['number']}"
    rows = [[(MARGIN, title, 18, True, False)], None]
    rows.append([(MARGIN, f"{words['date']}: {shown['issued']}   {words['due']}: {shown['due']}", 10, False, False)])
    rows += [[(MARGIN, part, 10, False, False)] for part in shown["customer"]] + [None, None]
    rows.append([(MARGIN, words["what"], 10, True, False), (RIGHT_ALIGNED_X, words["amount"], 10, True, True)])
    for description, period, amount in shown["lines"]:
        rows.append([(MARGIN, description, 10, False, False), (RIGHT_ALIGNED_X, amount, 10, False, True)])
        rows += [[(MARGIN + 12, period, 8, False, False)]] if period else []
    rows.append(None)
    for name, amount in [*shown["sums"], *shown["notes"]]:
        rows.append([(WIDTH // 2, name, 10, False, False), (RIGHT_ALIGNED_X, amount, 10, False, True)])
    if shown["contained"]:
        rows.append([(WIDTH // 2, shown["contained"], 8, False, False)])
    if shown["reverse_charge"]:
        rows += [None, [(MARGIN, shown["reverse_charge"], 8, False, False)]]
    return pdf(rows, title)
