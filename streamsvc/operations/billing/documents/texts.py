"""The texts of a document in the customer's language; HTML and PDF show the same."""

from dataclasses import dataclass

from streamsvc.operations.billing.documents.content import Document
from streamsvc.rules.billing.document_lines import DocumentLine
from streamsvc.rules.billing.invoice_labels import find_language, invoice_labels
from streamsvc.rules.billing.locale_formats import find_locale, format_day, format_money, format_percent


@dataclass(frozen=True)
class LineTexts:
    """The cells of a line; `details` are small lines below the description."""

    description: str
    details: list[str]
    quantity: str
    net: str
    tax_rate: str
    tax: str
    gross: str


@dataclass(frozen=True)
class DocumentTexts:
    """A document as text, from top to bottom. An invoice whose total is negative is titled as a credit note."""

    language: str
    labels: dict[str, str]
    title: str
    seller: list[str]
    facts: list[tuple[str, str]]
    """Label and value: dates, status, the invoice that is corrected."""
    customer: list[str]
    lines: list[LineTexts]
    sums: list[tuple[str, str]]
    notes: list[str]


def document_texts(document: Document) -> DocumentTexts:
    """Return the texts of a document."""
    locale_tag = document.customer.get("locale")
    return _Writer(document, locale_tag).texts()


class _Writer:
    """Writes one document in one language."""

    def __init__(self, document: Document, locale_tag: str | None):
        self.document = document
        self.language, self.labels = find_language(locale_tag), invoice_labels(locale_tag)
        self.locale = find_locale(locale_tag)

    def money(self, amount_minor: int) -> str:
        return format_money(amount_minor, self.document.currency, self.locale)

    def texts(self) -> DocumentTexts:
        document, labels = self.document, self.labels
        kind = "credit_note" if document.total_minor < 0 else document.kind
        return DocumentTexts(
            language=self.language,
            labels=labels,
            title=f"{labels[kind]} {document.number or labels['draft']}",
            seller=self.party_lines(document.seller) + self.seller_numbers(),
            facts=self.facts(),
            customer=self.party_lines(document.customer) + self.customer_numbers(),
            lines=[self.line_texts(line) for line in document.lines],
            sums=self.sums(),
            notes=self.notes(),
        )

    def party_lines(self, party: dict) -> list[str]:
        """Return name, street, city and country."""
        city = " ".join(part for part in (party.get("postal_code"), party.get("city")) if part)
        country = party.get("country")
        country_name = self.locale.territories.get(country, country) if country else None
        lines = (party.get("name"), party.get("street"), city, party.get("region"), country_name)
        return [line for line in lines if line]

    def seller_numbers(self) -> list[str]:
        names = ("vat_id", "tax_number", "registration", "email", "phone")
        seller = self.document.seller
        return [f"{self.labels[name]}: {seller[name]}" for name in names if seller.get(name)]

    def customer_numbers(self) -> list[str]:
        """Return email and VAT number, and the seller's number if it is not among the seller's own."""
        customer, labels = self.document.customer, self.labels
        lines = [customer["email"]] if customer.get("email") else []
        if customer.get("vat_id"):
            lines.append(f"{labels['vat_id']}: {customer['vat_id']}")
        return lines

    def facts(self) -> list[tuple[str, str]]:
        document, labels = self.document, self.labels
        facts = [(labels["date"], format_day(document.issued_on, self.locale))]
        if document.kind == "invoice":
            facts.append((labels["due"], format_day(document.due_on, self.locale)))
        facts.append((labels["supply"], " – ".join(format_day(day, self.locale) for day in document.supply)))
        if document.status:
            facts.append((labels["status"], labels[f"status_{document.status}"]))
        return facts

    def line_texts(self, line: DocumentLine) -> LineTexts:
        details = []
        if line.start and line.end:
            details.append(f"{format_day(line.start, self.locale)} – {format_day(line.end, self.locale)}")
        if line.discount_minor:
            details.append(f"{self.labels['discount']}: {self.money(-line.discount_minor)}")
        return LineTexts(
            description=line.description,
            details=details,
            quantity=str(line.quantity),
            net=self.money(line.net_minor),
            tax_rate=format_percent(line.tax_ppm, self.locale),
            tax=self.money(line.tax_minor),
            gross=self.money(line.gross_minor),
        )

    def sums(self) -> list[tuple[str, str]]:
        """Return the totals: without tax, the tax of each rate on its net amount, with tax, and what is left to pay."""
        document, labels = self.document, self.labels
        sums = [(labels["net_total"], self.money(document.net_minor))]
        for group in document.groups:
            rate = format_percent(group.tax_ppm, self.locale)
            name = f"{document.tax_name or labels['tax']} {rate} ({labels['net']} {self.money(group.net_minor)})"
            sums.append((name, self.money(group.tax_minor)))
        sums.append((labels["total"], self.money(document.total_minor)))
        if document.kind == "credit_note":
            return sums
        sums += [(f"{labels['credited']} {number}", self.money(-minor)) for number, minor in document.credited]
        if document.credit_applied_minor:
            sums.append((labels["credit"], self.money(-document.credit_applied_minor)))
        sums.append((labels["paid"], self.money(document.paid_minor)))
        sums.append((labels["amount_due"], self.money(document.due_minor)))
        return sums

    def notes(self) -> list[str]:
        document, labels = self.document, self.labels
        notes = list(document.discounts)
        for number, day in document.corrects:
            notes.append(labels["corrects"].format(number=number, date=format_day(day, self.locale)))
        if document.is_reverse_charged:
            notes.append(labels["reverse_charge"])
        elif not document.tax_minor and all(line.category in ("E", "O") for line in document.lines):
            notes.append(document.seller.get("tax_exemption") or labels["not_taxed"])
        return notes
