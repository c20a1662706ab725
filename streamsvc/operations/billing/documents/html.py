"""Invoices and credit notes as HTML pages."""

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from streamsvc.operations.billing.documents.content import Document
from streamsvc.operations.billing.documents.texts import document_texts


@cache
def _template_environment() -> Environment:
    loader = PackageLoader("streamsvc", "pages/templates")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined)


def render_html(document: Document) -> str:
    """Render the document as an HTML page in the customer's language."""
    return _template_environment().get_template("invoice.html").render(vars(document_texts(document)))
