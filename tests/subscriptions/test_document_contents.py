"""The contents of each kind of document, and their places on the page, compared with `tests/data/documents`.

After an intended change, `python -m tests.subscriptions.test_document_contents` writes these files again.
"""

import io
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from xml.etree import ElementTree

import pypdf
import pytest

from streamsvc.operations.billing.documents.content import Document
from streamsvc.operations.billing.documents.einvoice import find_missing_data, render_xml
from streamsvc.operations.billing.documents.pdf import render_pdf
from streamsvc.operations.billing.documents.texts import document_texts
from streamsvc.rules.billing.document_lines import DocumentLine
from tests.worlds.documents import broken_rules

FOLDER = Path(__file__).parent.parent / "data/documents"
SELLER = {
    "name": "Streamhaus GmbH",
    "street": "Lindenallee 4",
    "postal_code": "10117",
    "city": "Berlin",
    "region": "BE",
    "country": "DE",
    "vat_id": "DE123456788",
    "tax_number": "27/1",
    "registration": "HRB 12345",
    "email": "billing@streamhaus.example",
    "phone": "+49 30 1",
}
SMALL_SELLER = {
    "name": "Ann's films",
    "street": "Ring 1",
    "city": "Wien",
    "country": "AT",
    "registration": "FN 1",
    "tax_exemption": "Kleinunternehmer",
    "phone": "+43 1",
}
CUSTOMER = {
    "name": "Ann",
    "email": "ann@example.com",
    "street": "Ring 1",
    "city": "Wien",
    "country": "AT",
    "vat_id": "ATU13585627",
    "locale": "en",
}
JANUARY, REST = (date(2026, 1, 15), date(2026, 2, 14)), (date(2026, 1, 20), date(2026, 2, 14))
DATES = {"issued_on": date(2026, 1, 15), "due_on": date(2026, 1, 29)}
NOTHING_PAID = {"credit_applied_minor": 0, "paid_minor": 0, "due_minor": 0, "credited": [], "corrects": []}
DOCUMENTS = {
    "invoice": Document(
        kind="invoice",
        number="2026-000007",
        **DATES,
        currency="EUR",
        seller=SELLER,
        customer=CUSTOMER,
        lines=[
            DocumentLine("Premium", *JANUARY, 1, 1000, 900, 180, 200000, "S"),
            DocumentLine("3 × Sport", *REST, 3, 600, 600, 60, 100000, "S"),
            DocumentLine("A poster", None, None, 1, 250, 250, 0, 0, "Z"),
            DocumentLine("Unused time", *REST, -1, -400, -400, -80, 200000, "S"),
        ],
        tax_name="USt",
        discounts=["Coupon TEN"],
        credit_applied_minor=110,
        paid_minor=300,
        due_minor=1000,
        credited=[("CN-1", 100)],
        corrects=[("2026-000003", date(2025, 12, 15))],
        status="open",
    ),
    "negative_invoice": Document(
        kind="invoice",
        number="2026-000008",
        **DATES,
        currency="JPY",
        seller={name: value for name, value in SELLER.items() if name not in ("phone", "vat_id", "region")},
        customer=CUSTOMER | {"locale": "de-AT", "region": "W"},
        lines=[
            DocumentLine("Sport", *REST, 2, 700, 600, 0, 0, "AE"),
            DocumentLine("Unused time", *REST, -2, -3000, -2900, 0, 0, "AE"),
        ],
        tax_name=None,
        discounts=[],
        **NOTHING_PAID | {"corrects": [("2026-000003", date(2025, 12, 15))]},
        status="paid",
    ),
    "credit_note": Document(
        kind="credit_note",
        number="CN-2026-000001",
        **DATES,
        currency="EUR",
        seller=SMALL_SELLER,
        customer={"email": "bob@example.com", "country": "US"},
        lines=[DocumentLine("Gift credit", None, None, 1, 500, 500, 0, 0, "O")],
        tax_name=None,
        discounts=[],
        **NOTHING_PAID | {"corrects": [("2026-000003", date(2025, 12, 15))]},
        status=None,
    ),
    "draft": Document(
        kind="invoice",
        number=None,
        **DATES,
        currency="EUR",
        seller={},
        customer=CUSTOMER | {"locale": "fr"},
        lines=[DocumentLine("Premium", *JANUARY, 1, 500, 500, 100, 200000, "S")],
        tax_name=None,
        discounts=[],
        **NOTHING_PAID | {"due_minor": 600},
        status="draft",
    ),
    "exempt_invoice": Document(
        kind="invoice",
        number="2026-000009",
        **DATES,
        currency="EUR",
        seller=SMALL_SELLER | {"tax_number": "12/3"},
        customer={"email": "bob@example.com", "country": "AT", "locale": "en"},
        lines=[DocumentLine("Premium", *JANUARY, 1, 500, 500, 0, 0, "E")],
        tax_name=None,
        discounts=[],
        **NOTHING_PAID,
        status="void",
    ),
}


def iter_contents(document: Document) -> Iterator[str]:
    """Yield the texts by their part, the elements of the XML, and the texts of the PDF with their places in points."""
    texts = document_texts(document)
    for part in ("language", "title", "seller", "facts", "customer", "lines", "sums", "notes"):
        yield f"{part}: {getattr(texts, part)}"
    is_complete = not find_missing_data(document)
    for parent, element in _iter_leaves(ElementTree.fromstring(render_xml(document))) if is_complete else ():
        name = "/".join(re.sub(r"\{.*\}", "", each.tag) for each in (parent, element))
        yield " ".join([name, *element.attrib.values(), (element.text or "").strip()])
    pdf = pypdf.PdfReader(io.BytesIO(render_pdf(document)))
    names = ("/Author", "/Title", "/Subject", "/Keywords") if is_complete else ()
    yield " ".join(f"{name}={pdf.metadata[name]}" for name in names)
    xmp = pdf.xmp_metadata
    written_at = None if is_complete else xmp.xmp_create_date
    yield f"language {pdf.root_object['/Lang']}, by {xmp.dc_creator}, {xmp.dc_title}, {written_at}"
    for number, page in enumerate(pdf.pages, 1):
        yield from (f"page {number}: {place}" for place in _list_places(page))


def _iter_leaves(parent) -> Iterator[tuple]:
    for element in parent:
        if len(element):
            yield from _iter_leaves(element)
        else:
            yield parent, element


def _list_places(page) -> list[str]:
    places = []

    def add(text, _, matrix, font, size):
        if text.strip():
            bold = " bold" if "Bold" in font["/BaseFont"] else ""
            places.append(f"{matrix[4]:.0f} {matrix[5]:.0f} {size:g}{bold} {text.strip()}")

    page.extract_text(visitor_text=add)
    return places


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_has_the_same_contents_in_the_same_places(name):
    assert list(iter_contents(DOCUMENTS[name])) == (FOLDER / f"{name}.txt").read_text().splitlines()


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if name != "draft"])
def test_these_documents_satisfy_en_16931(name):
    assert broken_rules(render_xml(DOCUMENTS[name])) == []


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({}, []),
        ({"seller": {}}, ["seller.name", "seller.street", "seller.city", "seller.country", "seller.vat_id"]),
        ({"seller": SELLER | {"vat_id": None}}, []),
        ({"seller": SELLER | {"tax_number": None}}, []),
        ({"seller": SELLER | {"vat_id": None, "tax_number": None}}, ["seller.vat_id"]),
        ({"lines": DOCUMENTS["credit_note"].lines}, []),
        (
            {"lines": DOCUMENTS["credit_note"].lines, "seller": SELLER | {"registration": None, "vat_id": None}},
            ["seller.registration"],
        ),
        ({"customer": CUSTOMER | {"email": None}}, []),
        ({"customer": CUSTOMER | {"name": None}}, []),
        ({"customer": CUSTOMER | {"name": None, "email": None}}, ["customer.name"]),
        ({"number": None}, ["number"]),
        ({"currency": "KWD"}, ["currency"]),
    ],
)
def test_what_the_standard_requires_is_named_if_it_is_missing(changes, missing):
    assert find_missing_data(replace(DOCUMENTS["invoice"], **changes)) == missing


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, document in DOCUMENTS.items():
        (FOLDER / f"{name}.txt").write_text("".join(f"{line}\n" for line in iter_contents(document)))
