"""Invoices and credit notes in the structured form of EN 16931: the XML of Factur-X (UN/CEFACT CII).

The names BT-… and BG-… are those of the standard's terms.
"""

from decimal import Decimal

from facturx import generate_cii_xml

from streamsvc.operations.billing.documents.content import Document
from streamsvc.rules.billing.document_lines import DocumentLine, TaxGroup
from streamsvc.rules.money import minor_digits
from streamsvc.rules.refusals.billing import EInvoiceIncomplete

INVOICE, CREDIT_NOTE = "380", "381"
"""Document types of UNTDID 1001."""
UNIT = "C62"
"""The unit of quantities: one piece."""
DISCOUNT = "95"
"""The reason of an allowance in UNTDID 5189: discount."""
MAX_DIGITS = 2
"""Amounts may have two decimals."""
EXEMPTION_CODES = {"AE": "VATEX-EU-AE", "O": "VATEX-EU-O"}


def find_missing_data(document: Document) -> list[str]:
    """List what EN 16931 requires and the document lacks: the names of fields of the seller, customer or document."""
    seller, customer = document.seller, document.customer
    categories = {line.category for line in document.lines}
    missing = [f"seller.{name}" for name in ("name", "street", "city", "country") if not seller.get(name)]
    if categories == {"O"}:
        missing += [] if seller.get("registration") else ["seller.registration"]
    elif not (seller.get("vat_id") or seller.get("tax_number")):
        missing.append("seller.vat_id")
    if not (customer.get("name") or customer.get("email")):
        missing.append("customer.name")
    if document.number is None:
        missing.append("number")
    if minor_digits(document.currency) > MAX_DIGITS:
        missing.append("currency")
    return missing


def render_xml(document: Document) -> bytes:
    """Render the document as XML, checked with the schema of Factur-X. Raises EInvoiceIncomplete."""
    if missing := find_missing_data(document):
        raise EInvoiceIncomplete(missing=missing)
    xml: bytes = generate_cii_xml(_Terms(document).terms(), "en16931", check_xsd=True, check_schematron=None)
    return xml


class _Terms:
    """Writes the terms of one document. A document whose total is negative becomes a credit note over the opposite."""

    def __init__(self, document: Document):
        self.document = document
        self.is_credit = document.kind == "credit_note" or document.total_minor < 0
        self.sign = -1 if document.total_minor < 0 else 1
        self.is_taxable = {line.category for line in document.lines} != {"O"}
        """Whether VAT numbers belong into it: the standard forbids both parties' beside category O (BR-O-2)."""

    def amount(self, amount_minor: int) -> str:
        digits = minor_digits(self.document.currency)
        return f"{Decimal(self.sign * amount_minor).scaleb(-digits):.{digits}f}"

    def terms(self) -> dict:
        document = self.document
        start, end = document.supply
        total_minor, due_minor = document.total_minor, document.due_minor
        terms = {
            "BT-1": document.number,
            "BT-2": document.issued_on,
            "BT-3": CREDIT_NOTE if self.is_credit else INVOICE,
            "BT-5": document.currency,
            "BT-9": document.due_on,
            "BT-72": end,
            "BT-73": start,
            "BT-74": end,
            "BG-3": [{"BT-25": number, "BT-26": day} for number, day in document.corrects],
            "BG-4": self.seller(),
            "BG-7": self.buyer(),
            "BG-23": [self.tax_group(group) for group in document.groups],
            "BG-25": [self.line(position, line) for position, line in enumerate(document.lines, 1)],
            "BT-106": self.amount(document.net_minor),
            "BT-109": self.amount(document.net_minor),
            "BT-110": self.amount(document.tax_minor),
            "BT-112": self.amount(total_minor),
            "BT-113": self.amount(total_minor - due_minor),
            "BT-115": self.amount(due_minor),
        }
        return {name: value for name, value in terms.items() if value not in (None, [])}

    def seller(self) -> dict:
        """Return the seller. Where nothing is taxed, the standard wants its registration instead of its VAT number."""
        seller = self.document.seller
        contact = {"name": seller["name"], "email": seller.get("email"), "phone": seller.get("phone")}
        return _party(seller) | _present(
            {
                "legal_identifier": seller.get("registration"),
                "vat_identifier": seller.get("vat_id") if self.is_taxable else None,
                "tax_identifier": seller.get("tax_number") if self.is_taxable else None,
                "contacts": [_present(contact)] if contact["email"] or contact["phone"] else None,
            }
        )

    def buyer(self) -> dict:
        customer = self.document.customer
        return _party(customer) | _present({"vat_identifier": customer.get("vat_id") if self.is_taxable else None})

    def tax_group(self, group: TaxGroup) -> dict:
        rate = _percent(group.tax_ppm) if group.category != "O" else None
        return _present(
            {
                "BT-116": self.amount(group.net_minor),
                "BT-117": self.amount(group.tax_minor),
                "BT-118": group.category,
                "BT-119": rate,
                "BT-120": self.exemption_reason(group.category),
                "BT-121": EXEMPTION_CODES.get(group.category),
            }
        )

    def exemption_reason(self, category: str) -> str | None:
        reasons = {
            "AE": "Reverse charge",
            "E": self.document.seller.get("tax_exemption") or "No tax is charged",
            "O": "Not subject to VAT",
        }
        return reasons.get(category)

    def line(self, position: int, line: DocumentLine) -> dict:
        """Return a line: prices are never negative, so a credit has a negative quantity."""
        amount_minor = self.sign * line.before_discount_minor
        quantity = abs(line.quantity) * (-1 if amount_minor < 0 else 1)
        terms: dict[str, object] = {
            "BT-126": str(position),
            "BT-129": str(quantity),
            "BT-130": UNIT,
            "BT-131": self.amount(line.net_minor),
            "BT-134": line.start,
            "BT-135": line.end,
            "BT-146": self.amount(abs(line.before_discount_minor) * self.sign),
            "BT-149": str(abs(quantity)) if abs(quantity) != 1 else None,
            "BT-151": line.category,
            "BT-152": _percent(line.tax_ppm) if line.category != "O" else None,
            "BT-153": line.description,
        }
        if line.discount_minor:
            terms["BG-27"] = [{"amount": self.amount(line.discount_minor), "reason_code": DISCOUNT}]
        return _present(terms)


def _party(party: dict) -> dict:
    """Return name and address of a party."""
    return {"name": party.get("name") or party["email"]} | _present(
        {
            "addr_l1": party.get("street"),
            "postcode": party.get("postal_code"),
            "city": party.get("city"),
            "country_subdivision": party.get("region"),
            "country_code": party["country"],
        }
    )


def _percent(ppm: int) -> str:
    return f"{Decimal(ppm).scaleb(-4):.2f}"


def _present(values: dict[str, object]) -> dict:
    return {name: value for name, value in values.items() if value not in (None, "", [])}
