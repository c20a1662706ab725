"""VAT numbers and reverse charge: who pays the tax, what the invoice shows, and how the register is queried."""

import json

import pytest

from streamsvc.rules.billing.vat import is_reverse_charged, normalize_vat_number, vat_number_country
from tests.worlds.billing_world import World
from tests.worlds.local_server import LocalHandler, local_server

SELLER = "IE1234564WA"


@pytest.fixture
def world(app):
    world = World(app)
    world.operator.put("/v1/admin/tax-rates/DE", {"percent": 19, "name": "MwSt"})
    yield world
    assert world.differences() == []


@pytest.fixture
def configure(app, monkeypatch):
    """Set the seller's VAT number, and return a function that changes settings."""

    def replace_settings(**changes):
        monkeypatch.setitem(app.extensions, "settings", app.extensions["settings"].replace(**changes))

    replace_settings(seller_vat_id=SELLER)
    return replace_settings


def business(world, number="DE 123.456.788", country="DE"):
    firm = world.person(country=country)
    response = firm.put("/v1/account/tax-id", {"number": number})
    assert response.status_code == 200, response.json
    return firm


def sums(invoice):
    return tuple(invoice[f"{name}_minor"] for name in ("subtotal", "discount", "tax", "total"))


@pytest.mark.parametrize(
    ("number", "country"),
    [
        ("DE123456788", "DE"),
        ("ATU12345678", "AT"),
        ("EL123456789", "GR"),
        ("GR123456789", None),
        ("NL123456789B01", "NL"),
        ("ESX1234567X", "ES"),
        ("FRAB123456789", "FR"),
        ("IE1234564WA", "IE"),
        ("DE12345678", None),
        ("GB123456789", None),
        ("CHE123456789", None),
        ("123456789", None),
    ],
)
def test_a_vat_number_must_match_its_countrys_format(number, country):
    assert vat_number_country(number) == country


def test_reverse_charge_applies_across_borders_within_the_eu():
    assert normalize_vat_number(" de 123-456.788 ") == "DE123456788"
    assert is_reverse_charged(SELLER, "DE", "DE123456788")
    assert not is_reverse_charged(SELLER, "IE", "IE1234564WA")  # a domestic sale
    assert not is_reverse_charged(SELLER, "FR", "DE123456788")  # the account is in another country
    assert not is_reverse_charged(None, "DE", "DE123456788")  # the seller has no VAT number


def test_reverse_charge_keeps_an_exclusive_price_and_reduces_an_inclusive_one(world, configure):
    """19 % of 1000; the 190 in 1190; after 10 % off, the 171 in 1071. Fifteen of 31 days of 1000 are credited: 484."""
    exclusive = world.plan("on-top", 1000, currency="EUR")
    inclusive = world.put_plan("inside", [{"currency": "EUR", "amount_minor": 1190, "tax": "inclusive"}])
    world.operator.put("/v1/admin/coupons/ten", {"percent_off": 10, "duration": "once"})
    private, firms = world.person(country="DE"), [business(world) for _ in range(3)]
    private.subscribe(exclusive)
    preview = firms[1].post("/v1/invoice-previews", {"price_id": inclusive}).json
    firms[0].subscribe(exclusive)
    firms[1].subscribe(inclusive)
    firms[2].subscribe(inclusive, coupon="ten")
    invoices = [customer.invoices()[0] for customer in (private, *firms)]
    assert [sums(invoice) for invoice in invoices] == [
        (1000, 0, 190, 1190),
        (1000, 0, 0, 1000),
        (1190, 190, 0, 1000),
        (1190, 119 + 171, 0, 900),
    ]
    assert (sums(preview), preview["reverse_charge"]) == ((1190, 190, 0, 1000), True)
    assert [invoice["reverse_charge"] for invoice in invoices] == [False, True, True, True]
    assert invoices[1]["customer_vat_id"] == "DE123456788"
    page = firms[1].get(f"/v1/invoices/{invoices[2]['id']}/html").text
    assert "Reverse charge" in page and "DE123456788" in page and SELLER in page
    assert b"Article 196" in firms[1].get(f"/v1/invoices/{invoices[2]['id']}/pdf").data
    world.go_to("2026-01-30T12:00:00")
    subscription = firms[1].subscription()["id"]
    firms[1].post(f"/v1/subscriptions/{subscription}/cancellation", {"when": "now"})
    assert sums(firms[1].invoices()[1]) == (-484, 0, 0, -484)
    taxes = world.operator.get("/v1/admin/reports/revenue?from=2026-01-01&to=2026-02-01").json["taxes"]
    assert {row["percent"]: row["tax_minor"] for row in taxes} == {19.0: 190, 0.0: 0}


def test_an_invalid_vat_number_is_rejected_and_a_deleted_one_has_no_effect(world, configure):
    firm = business(world)
    assert firm.get("/v1/account/tax-id").json == {
        "number": "DE123456788",
        "status": "unchecked",
        "checked_at": None,
        "reverse_charge": True,
    }
    for number in ("DE12345678", "ATU12345678", "DE"):
        assert firm.put("/v1/account/tax-id", {"number": number}).status_code == 422
    assert firm.delete("/v1/account/tax-id").status_code == 204
    assert firm.get("/v1/account/tax-id").status_code == 404
    firm.subscribe(world.plan("p", 1000, currency="EUR"))
    assert firm.invoices()[0]["tax_minor"] == 190


class Register(LocalHandler):
    """A fake VIES register: responds with `response` and records its requests."""

    response, requests = b"{}", []

    def do_POST(self):
        self.requests.append((self.path, json.loads(self.read_body())))
        self.respond(200, self.response)


@pytest.fixture
def register():
    Register.requests = []
    with local_server(Register) as server:
        yield server


def test_tax_is_charged_until_the_register_confirms_the_number(world, configure, register):
    configure(vat_check="vies", vies_url=f"{register.url}/rest-api")
    price = world.plan("p", 1000, currency="EUR")
    Register.response = b'{"actionSucceed": false, "errorWrappers": [{"error": "MS_UNAVAILABLE"}]}'
    firm, other = business(world), business(world, "DE123456704")
    firm.subscribe(price)
    world.go_to("2026-01-15T13:30:00")
    assert firm.get("/v1/account/tax-id").json["status"] == "unchecked"
    Register.response = b'{"valid": true, "requestIdentifier": "WAPI1"}'
    other.delete("/v1/account/tax-id")
    world.go_to("2026-01-15T14:30:00")
    assert firm.get("/v1/account/tax-id").json["reverse_charge"]
    vat_number = {"countryCode": "DE", "vatNumber": "123456788"}
    requester = {"requesterMemberStateCode": "IE", "requesterNumber": "1234564WA"}
    assert Register.requests[-1] == ("/rest-api/check-vat-number", vat_number | requester)
    Register.response = b'{"valid": false, "userError": "INVALID"}'
    other.put("/v1/account/tax-id", {"number": "DE123456704"})
    world.go_to("2026-02-16T12:00:00")
    assert other.get("/v1/account/tax-id").json["status"] == "invalid"
    assert [invoice["tax_minor"] for invoice in firm.invoices()] == [190, 0]
