"""Issuing: an invoice becomes immutable and gets the next number."""

from datetime import datetime

from streamsvc.models.subscriptions import Invoice, InvoiceNumber
from streamsvc.operations.outbox.webhooks import publish_event
from streamsvc.rules.billing.number_series import invoice_series
from streamsvc.settings import current_settings
from streamsvc.storage.database import batching_session


def issue_invoice(invoice: Invoice, now: datetime) -> None:
    """Issue the invoice: it becomes immutable and gets the next number. Issuing it again has no effect.

    An invoice over nothing gets no number, and so no documents and no event, unless a setting wants it.
    """
    if invoice.issued_at is not None:
        return
    invoice.issued_at = now
    if invoice.total_minor or invoice.tax_minor or current_settings().number_empty_invoices:
        batching_session().collect(_assign_numbers, (invoice, invoice_payload(invoice)))


def _assign_numbers(issued: list[tuple[Invoice, dict]]) -> None:
    """Assign gapless numbers in the invoices' own transaction.

    Done as late as possible, since taking a number blocks every other transaction that needs one.
    """
    by_series: dict[str, list] = {}
    for invoice, payload in issued:
        assert invoice.issued_at is not None, "a number is assigned to an issued invoice"
        series = invoice_series(*numbering_of(invoice), invoice.issued_at)
        by_series.setdefault(series, []).append((invoice, payload))
    for series, issued_in_series in sorted(by_series.items()):
        numbers = InvoiceNumber.allocate_block(series, len(issued_in_series))
        for (invoice, payload), number in zip(issued_in_series, numbers, strict=True):
            invoice.number = number
            publish_event("invoice.issued", invoice.account_id, invoice.issued_at, **payload | {"number": number})


def numbering_of(invoice: Invoice) -> tuple[str, str]:
    """Return the seller's number prefix and its time zone; of an invoice without a stored seller, the settings'."""
    seller = invoice.seller or {}
    settings = current_settings()
    return seller.get("prefix", settings.invoice_prefix), seller.get("time_zone") or settings.seller_time_zone


def invoice_payload(invoice: Invoice) -> dict:
    """Return the event payload for an invoice."""
    names = ("number", "subscription_id", "currency", "total_minor", "balance_minor", "status", "reason")
    return {"invoice_id": invoice.id, **{name: getattr(invoice, name) for name in names}}
