"""Documents of invoices and credit notes: their content, every script, and the structured form of EN 16931."""

import io
import itertools
import re

import pypdf
import pytest
import sqlalchemy as sa

from streamsvc.models import Account
from streamsvc.rules.money import MINOR_DIGITS
from streamsvc.storage.database import db
from tests.worlds.billing_world import World
from tests.worlds.documents import broken_rules, plain_text, read_embedded_xml, read_pdf_text, term

SELLER = {
    "seller_name": "Streamhaus GmbH",
    "seller_street": "Lindenallee 4",
    "seller_postal_code": "10117",
    "seller_city": "Berlin",
    "seller_country": "DE",
    "seller_vat_id": "DE123456788",
    "seller_registration": "HRB 12345 Berlin",
    "seller_email": "billing@streamhaus.example",
    "vat_check": "form",
}
NAMES = {
    "Polish": "Łucja Żółć",
    "Vietnamese": "Nguyễn Thị Hằng",
    "Greek": "Ελένη Παπαδοπούλου",
    "Cyrillic": "Дмитрий Ђорђевић",
    "Hebrew": "דוד",
    "Arabic": "محمد",
    "Devanagari": "अमर",
    "Bengali": "অমর",
    "Tamil": "தமர",
    "Thai": "สมชาย ใจดี",
    "Chinese": "王小明 張偉",
    "Japanese": "髙橋 太郎 ひらがな",
    "Korean": "김철수",
    "Georgian": "გიორგი",
    "Armenian": "Հայկ",
    "Ethiopic": "አማርኛ",
    "Khmer": "ខម",
}


@pytest.fixture
def configure(app, monkeypatch):
    """Return a function that changes settings."""

    def replace_settings(**changes):
        monkeypatch.setitem(app.extensions, "settings", app.extensions["settings"].replace(**changes))

    return replace_settings


@pytest.fixture
def world(app, configure):
    world = World(app)
    for country, percent, name in (("DE", 19, "MwSt"), ("AT", 20, "USt"), ("FR", 20, "TVA"), ("JP", 10, "消費税")):
        world.operator.put(f"/v1/admin/tax-rates/{country}", {"percent": percent, "name": name})
    yield world
    assert world.differences() == []


def customer(world, country="DE", **facts):
    person = world.person(country=country)
    with world.app.app_context():
        db.session.execute(sa.update(Account).where(Account.id == person.id).values(**facts or {"locale": "en"}))
        db.session.commit()
    return person


def document(person, form, invoice=None, note=None):
    """Return the response with a document of the person's invoice (default: the first), or of its credit note."""
    invoice_id = (invoice or person.invoices()[0])["id"]
    path = f"/v1/invoices/{invoice_id}" + (f"/credit-notes/{note['id']}" if note else "")
    return person.get(f"{path}/{form}")


@pytest.mark.one_database
@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_pdf_shows_names_in_every_script(world, name):
    ann = customer(world, name=name)
    ann.subscribe(world.plan("standard", 1000, currency="EUR"))
    text = read_pdf_text(document(ann, "pdf").data)
    words = plain_text(name)
    assert words in text or words[::-1] in text  # right to left, a reader may return the glyphs from left to right


@pytest.mark.one_database
def test_what_no_font_has_is_shown_as_its_code_point(world):
    ann = customer(world, name="Ann \U0001f600 𐎠 e\u0301 \u202eevil")
    ann.subscribe(world.plan("standard", 1000, currency="EUR"))
    assert "Ann[U+1F600][U+103A0]éevil" in read_pdf_text(document(ann, "pdf").data)


@pytest.mark.one_database
def test_a_line_in_another_script_leaves_the_lines_after_it_readable(world):
    """A whole line in a fallback font once made the next ones unreadable."""
    ann = customer(world, name="محمد")
    ann.put("/v1/account/billing-address", {"street": "Hauptstraße 1", "postal_code": "10115", "city": "Berlin"})
    ann.subscribe(world.plan("standard", 1000, currency="EUR"))
    text = read_pdf_text(document(ann, "pdf").data)
    assert "Hauptstraße1" in text and "10115Berlin" in text


@pytest.mark.one_database
def test_a_pdf_embeds_its_fonts_and_claims_pdf_a_3(world, configure):
    configure(**SELLER)
    ann = customer(world, name="髙橋")
    ann.subscribe(world.plan("standard", 1000, currency="EUR"))
    reader = pypdf.PdfReader(io.BytesIO(document(ann, "pdf").data))
    fonts = reader.pages[0]["/Resources"]["/Font"].values()
    descriptors = [font.get_object()["/DescendantFonts"][0].get_object()["/FontDescriptor"] for font in fonts]
    assert descriptors and all("/FontFile2" in descriptor for descriptor in descriptors)
    root = reader.trailer["/Root"]
    metadata = root["/Metadata"].get_data().decode()
    assert "pdfaid:part" in metadata and "EN 16931" in metadata
    assert root["/OutputIntents"][0]["/S"] == "/GTS_PDFA1"


@pytest.mark.one_database
def test_a_long_invoice_takes_several_pages_with_headings_on_each(world, configure):
    configure(invoice_review_hours=1)
    ann = customer(world)
    ann.subscribe(world.plan("standard", 1000, currency="EUR"))
    world.go_to("2026-02-15T00:30:00")
    draft = ann.invoices()[-1]
    for number in range(60):
        line = {"amount_minor": 100, "description": f"Poster {number}", "tax": "exclusive"}
        world.operator.post(f"/v1/admin/invoices/{draft['id']}/lines", line)
    pages = pypdf.PdfReader(io.BytesIO(document(ann, "pdf", invoice=draft).data)).pages
    texts = [page.extract_text() for page in pages]
    assert len(texts) == 3 and all("Description" in text for text in texts[:2])
    assert all(f"Poster{number}1€1.00" in plain_text("".join(texts)) for number in range(60))
    assert all(f"Page {number}" in text for number, text in enumerate(texts, 1))


@pytest.mark.one_database
@pytest.mark.parametrize(
    ("locale", "expected"),
    [
        ("en", ("Invoice 2026-000001", "€11.90", "Jan 15, 2026", "Period of supply", "Status: Paid")),
        ("de", ("Rechnung 2026-000001", "11,90\xa0€", "15.01.2026", "Leistungszeitraum", "Status: Bezahlt")),
        ("fr", ("Facture 2026-000001", "11,90\xa0€", "15 janv. 2026", "Période de prestation", "État: Payée")),
        ("es", ("Factura 2026-000001", "11,90\xa0€", "15 ene 2026", "Periodo de prestación", "Estado: Pagada")),
        ("ja", ("請求書 2026-000001", "€11.90", "2026/01/15", "役務提供期間", "状態: 支払済み")),
        ("pl", ("Invoice 2026-000001", "€11.90", "Jan 15, 2026", "Period of supply", "Status: Paid")),
    ],
)
def test_both_documents_are_in_the_customers_language(world, locale, expected):
    ann = customer(world, locale=locale)
    ann.subscribe(world.plan("standard", 1000, currency="EUR"))
    page, text = document(ann, "html").text, read_pdf_text(document(ann, "pdf").data)
    for words in expected:
        assert words in page and plain_text(words) in text


@pytest.mark.one_database
def test_lines_are_described_in_the_customers_language(world):
    ann, bob, cid = customer(world, locale="ja"), customer(world, locale="de-CH"), customer(world, locale="pl")
    world.operator.put("/v1/admin/coupons/ten", {"percent_off": 10, "duration": "once"})
    cheap, dear = world.plan("standard", 1000, currency="EUR"), world.plan("premium", 2000, currency="EUR")
    for person in (ann, bob, cid):
        person.subscribe(cheap, coupon="ten")
    world.go_to("2026-01-30T12:00:00")
    described = []
    for person in (ann, bob, cid):
        path = f"/v1/subscriptions/{person.subscription()['id']}/plan-change"
        assert person.post(path, {"price_id": dear, "when": "now"}).status_code == 200
        lines = [line["description"] for invoice in person.invoices() for line in invoice["lines"]]
        described.append(lines)
        assert lines[-1] in document(person, "html", invoice=person.invoices()[-1]).text
    assert described == [
        ["Standard", "クーポン ten", "Standard：未使用期間（31日のうち16日分）", "Premium（31日のうち16日分）"],
        ["Standard", "Gutschein ten", "Standard: ungenutzte Zeit, 16 von 31 Tagen", "Premium, 16 von 31 Tagen"],
        ["Standard", "Coupon ten", "Standard: unused time, 16 of 31 days", "Premium, 16 of 31 days"],
    ]


@pytest.mark.one_database
@pytest.mark.parametrize(("currency", "shown"), [("JPY", "¥1,100"), ("KWD", "KWD\xa01.100"), ("USD", "$11.00")])
def test_amounts_have_the_decimals_of_their_currency(world, currency, shown):
    ann = customer(world, country="JP")
    ann.subscribe(world.plan("standard", 1000, currency=currency))
    assert shown in document(ann, "html").text
    assert plain_text(shown) in read_pdf_text(document(ann, "pdf").data)


def test_an_invoice_has_what_the_law_requires_in_every_form(world, configure):
    configure(**SELLER)
    firm = customer(world, country="AT", name="Ann")
    firm.put("/v1/account/tax-id", {"number": "ATU13585627"})
    address = {"name": "Müller & Söhne", "street": "Ring 1", "postal_code": "1010", "city": "Wien", "region": None}
    assert firm.put("/v1/account/billing-address", address).json == address
    firm.subscribe(world.plan("standard", 1000, currency="EUR"))
    invoice = firm.invoices()[0]
    page, text = document(firm, "html").text, read_pdf_text(document(firm, "pdf").data)
    for words in (
        "Streamhaus GmbH",
        "Lindenallee 4",
        "10117 Berlin",
        "DE123456788",
        "HRB 12345 Berlin",
        "billing@streamhaus.example",
        "Ring 1",
        "1010 Wien",
        "Austria",
        "ATU13585627",
        "Reverse charge: the customer accounts for the VAT (Article 196",
        "Jan 15, 2026 – Feb 14, 2026",
        "Standard",
        "€10.00",
    ):
        assert words in page and plain_text(words) in text
    assert "Müller &amp; Söhne" in page and "Müller&Söhne" in text
    assert invoice["seller"]["name"] == "Streamhaus GmbH" and invoice["seller"]["vat_id"] == "DE123456788"
    assert invoice["customer"]["name"] == "Müller & Söhne" and invoice["customer"]["vat_id"] == "ATU13585627"
    assert invoice["tax_breakdown"] == [{"category": "AE", "percent": 0.0, "net_minor": 1000, "tax_minor": 0}]
    assert (invoice["lines"][0]["net_minor"], invoice["lines"][0]["tax_percent"]) == (1000, 0.0)


def test_an_issued_invoice_keeps_its_seller_and_address(world, configure):
    configure(**SELLER)
    ann, bob = customer(world), customer(world)
    ann.put("/v1/account/billing-address", {"city": "Bonn"})
    ann.subscribe(world.plan("standard", 1000, currency="EUR"))
    before = document(ann, "html").text, ann.invoices()[0]
    configure(seller_name="Another AG", seller_city="Hamburg")
    ann.put("/v1/account/billing-address", {"city": "Trier"})
    assert (document(ann, "html").text, ann.invoices()[0]) == before and "Bonn" in before[0]
    assert bob.get("/v1/account/billing-address").status_code == 404
    assert ann.get("/v1/account/billing-address").json["city"] == "Trier"
    assert ann.delete("/v1/account/billing-address").status_code == 204
    assert ann.get("/v1/account/billing-address").status_code == 404


def test_an_invoice_that_was_paid_a_day_later_is_dated_on_that_day(world, configure):
    configure(**SELLER)
    ann = world.person(card="pm_card_authenticationRequired")
    started = ann.subscribe(world.plan("standard", 1000, currency="EUR"))
    assert b"Jan 15, 2026" in document(ann, "html").data
    world.clock.advance(hours=14)
    path = f"/v1/sandbox/payments/{started.json['payment_id']}/authentication"
    assert world.operator.post(path, {"approve": True}).status_code == 200
    assert ann.invoices()[0]["issued_at"].startswith("2026-01-16")
    assert b">20260116<" in document(ann, "xml").data


def test_a_credit_note_is_numbered_like_the_invoice_that_it_corrects(world, configure):
    """By the prefix of the invoice's seller, whatever the settings say by then."""
    configure(**SELLER, invoice_prefix="A")
    ann = customer(world)
    ann.subscribe(world.plan("standard", 1000, currency="EUR"))
    configure(invoice_prefix="B")
    invoice = ann.invoices()[0]
    note = world.operator.post(f"/v1/admin/invoices/{invoice['id']}/credit-notes", {"amount_minor": 100}).json
    assert (invoice["number"], note["number"]) == ("A-2026-000001", "CN-A-2026-000001")


def test_the_tax_of_each_rate_adds_up_to_the_total(world, configure):
    """11.90 with 10 % off: 10.71, of which 1.71 tax; before the discount 10.00 without tax."""
    world.operator.put("/v1/admin/coupons/ten", {"percent_off": 10, "duration": "once"})
    ann = customer(world)
    ann.subscribe(world.plan("standard", 1190, currency="EUR", tax="inclusive"), coupon="ten")
    invoice = ann.invoices()[0]
    assert invoice["tax_breakdown"] == [{"category": "S", "percent": 19.0, "net_minor": 900, "tax_minor": 171}]
    assert sum(group["net_minor"] + group["tax_minor"] for group in invoice["tax_breakdown"]) == invoice["total_minor"]
    page = document(ann, "html").text
    for words in ("Discount: -€1.00", "MwSt 19\xa0% (Net €9.00)", "€1.71", "€10.71"):
        assert words in page


def test_a_credit_note_has_documents_that_name_the_invoice(world, configure):
    configure(**SELLER)
    ann, bob = customer(world, name="Ann"), customer(world)
    for person in (ann, bob):
        person.subscribe(world.plan("standard", 1190, currency="EUR", tax="inclusive"))
    path = f"/v1/admin/invoices/{ann.invoices()[0]['id']}/credit-notes"
    note = world.operator.post(path, {"amount_minor": 119, "reason": "outage"}).json
    page = document(ann, "html", note=note)
    text = read_pdf_text(document(ann, "pdf", note=note).data)
    for words in (
        "Credit note CN-2026-000001",
        "Corrects invoice 2026-000001 of Jan 15, 2026",
        "€1.00",
        "€0.19",
        "€1.19",
    ):
        assert words in page.text and plain_text(words) in text
    assert "script" not in page.headers["Content-Security-Policy"]
    assert "Credited CN-2026-000001" in document(ann, "html").text
    assert document(bob, "html", note=note).status_code == 404
    assert bob.get(f"/v1/invoices/{ann.invoices()[0]['id']}/credit-notes/{note['id']}/pdf").status_code == 404
    xml = document(ann, "xml", note=note).data
    assert broken_rules(xml) == []
    assert term(xml, "GrandTotalAmount") == ["1.19"] and b">381<" in xml
    assert term(xml, "InvoiceReferencedDocument", "IssuerAssignedID") == ["2026-000001"]


def test_a_credit_for_a_canceled_period_names_the_invoice_that_it_corrects(world, configure):
    configure(**SELLER)
    ann = customer(world)
    ann.subscribe(world.plan("standard", 1000, currency="EUR"))
    world.go_to("2026-01-20T12:00:00")
    ann.post(f"/v1/subscriptions/{ann.subscription()['id']}/cancellation", {"when": "now"})
    credit = ann.invoices()[1]
    assert credit["total_minor"] < 0
    page = document(ann, "html", invoice=credit).text
    assert "Credit note 2026-000002" in page and "Corrects invoice 2026-000001 of Jan 15, 2026" in page
    xml = document(ann, "xml", invoice=credit).data
    assert broken_rules(xml) == [] and b">381<" in xml
    assert term(xml, "GrandTotalAmount") == [f"{-credit['total_minor'] / 100:.2f}"]


@pytest.mark.one_database
def test_the_xml_satisfies_the_rules_of_en_16931(world, configure):
    configure(**SELLER)
    world.operator.put("/v1/admin/coupons/third", {"percent_off": 33, "duration": "forever"})
    cheap, dear = world.plan("standard", 999, 2499, currency="EUR")
    inclusive = world.put_plan("family", [{"currency": "EUR", "amount_minor": 1099, "tax": "inclusive"}])
    people = [customer(world, country) for country in ("DE", "AT", "FR", "US", "JP")]
    firm = customer(world, "FR")
    firm.put("/v1/account/tax-id", {"number": "FR40303265045"})
    for person, price in zip([*people, firm], itertools.cycle((cheap, inclusive))):
        person.subscribe(price, coupon="third")
    world.go_to("2026-01-27T12:00:00")
    for person in (people[0], people[2]):
        path = f"/v1/subscriptions/{person.subscription()['id']}/plan-change"
        assert person.post(path, {"price_id": dear, "when": "now"}).status_code == 200
    checked = 0
    for person in [*people, firm]:
        for invoice in person.invoices():
            xml = document(person, "xml", invoice=invoice)
            assert xml.status_code == 200, xml.json
            assert broken_rules(xml.data) == []
            amounts = {name: term(xml.data, name)[0] for name in ("GrandTotalAmount", "TaxBasisTotalAmount")}
            assert amounts["GrandTotalAmount"] == f"{invoice['total_minor'] / 100:.2f}"
            checked += 1
    assert checked >= 6
    categories = [person.invoices()[0]["tax_breakdown"][0]["category"] for person in [*people, firm]]
    assert categories == ["S", "S", "S", "O", "S", "AE"]


@pytest.mark.parametrize("exemption", [None, "Kein Steuerausweis nach § 19 UStG"])
def test_gift_credit_is_no_supply_and_pays_for_one(world, configure, exemption):
    """The Schematron allows no VAT number beside category O (BR-O-2), and wants a rate beside Z (BR-Z-5)."""
    configure(**SELLER, seller_tax_exemption=exemption)
    price = world.plan("standard", 1000, currency="EUR")
    ann, firm = customer(world), customer(world, "FR")
    firm.put("/v1/account/tax-id", {"number": "FR40303265045"})
    for person in (ann, firm):
        gift = person.post("/v1/gift-purchases", {"currency": "EUR", "amount_minor": 2500}).json
        sold, xml = person.invoices()[0], document(person, "xml").data
        assert (broken_rules(xml), sold["tax_breakdown"][0]["category"], sold["reverse_charge"]) == ([], "O", False)
        assert term(xml, "ApplicableTradeTax", "ExemptionReasonCode") == ["VATEX-EU-O"]
        assert b"DE123456788" not in xml and b"FR40303265045" not in xml
        person.post("/v1/gift-redemptions", {"code": gift["code"]})
        person.subscribe(price)
        spent = document(person, "xml", invoice=person.invoices()[1]).data
        assert (broken_rules(spent), term(spent, "DuePayableAmount")) == ([], ["0.00"])
        assert term(spent, "TotalPrepaidAmount") == term(spent, "GrandTotalAmount")
    note = world.operator.post(f"/v1/admin/invoices/{ann.invoices()[0]['id']}/credit-notes", {"amount_minor": 500}).json
    xml = document(ann, "xml", note=note).data
    assert broken_rules(xml) == [] and b"VATEX-EU-O" in xml


def test_an_exempt_seller_states_why_it_charges_no_tax(world, configure):
    configure(**SELLER | {"seller_vat_id": "", "seller_tax_number": "12/345/67890"})
    configure(seller_tax_exemption="Kein Steuerausweis nach § 19 UStG")
    ann = customer(world, country="US")
    ann.subscribe(world.plan("standard", 1000, currency="EUR"))
    assert "§ 19 UStG" in document(ann, "html").text
    xml = document(ann, "xml").data
    assert broken_rules(xml) == [] and "§ 19 UStG" in xml.decode()
    assert ann.invoices()[0]["tax_breakdown"][0]["category"] == "E"


@pytest.mark.one_database
def test_the_pdf_contains_the_xml_if_it_is_complete(world, configure):
    ann, bob = customer(world), customer(world)
    price = world.plan("standard", 1000, currency="EUR")
    ann.subscribe(price)
    configure(**SELLER)
    bob.subscribe(price)
    assert read_embedded_xml(document(ann, "pdf").data) is None
    assert read_embedded_xml(document(bob, "pdf").data) == document(bob, "xml").data


def test_an_incomplete_invoice_has_no_xml_and_says_what_is_missing(world, configure):
    configure(seller_name="Streamhaus GmbH", seller_country="DE")
    ann = customer(world)
    ann.subscribe(world.plan("standard", 1000, currency="EUR"))
    response = document(ann, "xml")
    assert (response.status_code, response.json["code"]) == (409, "einvoice_incomplete")
    assert response.json["missing"] == ["seller.street", "seller.city", "seller.vat_id"]
    configure(**SELLER)
    dinar = customer(world)
    dinar.subscribe(world.plan("gulf", 1000, currency="KWD"))
    assert document(dinar, "xml").json["missing"] == ["currency"]
    assert MINOR_DIGITS["KWD"] == 3


def test_the_documents_of_others_are_not_found(world, configure):
    configure(**SELLER)
    ann, bob = customer(world), customer(world)
    ann.subscribe(world.plan("standard", 1000, currency="EUR"))
    for form in ("html", "pdf", "xml"):
        assert document(ann, form).status_code == 200
        assert bob.get(f"/v1/invoices/{ann.invoices()[0]['id']}/{form}").status_code == 404


def test_an_open_invoice_says_what_is_left_to_pay_and_why(world, configure):
    configure(**SELLER)
    ann = world.person(card=None, country="DE")
    poster = {"account_id": ann.id, "amount_minor": 1000, "currency": "EUR", "description": "A poster"}
    invoice = world.operator.post("/v1/admin/invoices", poster).json
    path = f"/v1/admin/invoices/{invoice['id']}"
    assert world.operator.post(f"{path}/payments", {"amount_minor": 300, "reference": "RF18"}).status_code == 201
    assert world.operator.post(f"{path}/credit-notes", {"amount_minor": 119}).status_code == 201
    left_minor = invoice["total_minor"] - 300 - 119

    def sums():
        page = document(ann, "html").text
        cells = [re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<t[dh][^>]*>.*?</t[dh]>", page, re.DOTALL)]
        return dict(itertools.pairwise(cells))

    assert (sums()["Credited CN-2026-000001"], sums()["Paid"]) == ("-€1.19", "€3.00")
    assert sums()["Amount due"] == f"€{left_minor / 100:.2f}"
