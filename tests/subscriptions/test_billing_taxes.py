"""VAT numbers and reverse charge: who pays the tax, what the invoice shows, and how the register is queried."""

import pytest
import sqlalchemy as sa

from streamsvc.models.subscriptions import TaxId, TaxIdCheck
from streamsvc.rules.billing.vat import is_reverse_charged, normalize_vat_number, parse_vat_number
from streamsvc.storage.database import db
from streamsvc.worker import jobs
from tests.worlds.billing_world import World
from tests.worlds.vies_register import FAILURES, vies_register

SELLER = "IE1234564WA"


@pytest.fixture
def world(app):
    world = World(app)
    world.operator.put("/v1/admin/tax-rates/DE", {"percent": 19, "name": "MwSt"})
    yield world
    assert world.differences() == []


@pytest.fixture
def configure(app, monkeypatch):
    """Set the seller's VAT number, accept numbers by their form, and return a function that changes settings."""

    def replace_settings(**changes):
        monkeypatch.setitem(app.extensions, "settings", app.extensions["settings"].replace(**changes))

    replace_settings(seller_vat_id=SELLER, vat_check="form")
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
        ("ATU13585627", "AT"),
        ("EL094259216", "GR"),
        ("NL004495445B01", "NL"),
        ("ESX2482300W", "ES"),
        ("FR40303265045", "FR"),
        ("IE1234564WA", "IE"),
        ("GB980780684", "GB"),
        ("CHE107787577IVA", "CH"),
        ("NO995525828MVA", "NO"),
        ("AU51824753556", "AU"),
    ],
)
def test_a_vat_number_must_match_its_countrys_format_and_check_digits(number, country):
    digit = [index for index, letter in enumerate(number) if letter.isdigit()][4]
    wrong_digit = number[:digit] + str((int(number[digit]) + 1) % 10) + number[digit + 1 :]
    assert (parse_vat_number(number, country), parse_vat_number(wrong_digit, country)) == (number, None)


@pytest.mark.parametrize(
    ("number", "country"),
    [
        ("DE000000000", "DE"),
        ("DE123456789", "DE"),
        ("DE12345678", "DE"),
        ("DEDE123456788", "DE"),
        ("123456788", "DE"),
        ("DE123456788", "FR"),
        ("GR094259216", "GR"),
        ("DE١٢٣٤٥٦٧٨٨", "DE"),
        ("123", "US"),
        ("", "DE"),
    ],
)
def test_what_is_no_vat_number_of_the_country_is_rejected(number, country):
    assert parse_vat_number(number, country) is None


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
    assert "Article 196" in page
    assert "Discount: -€1.00" in firms[2].get(f"/v1/invoices/{invoices[3]['id']}/html").text
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
        "reference": None,
        "error": None,
        "reverse_charge": True,
    }
    for number in ("DE000000000", "DE12345678", "ATU13585627", "DE"):
        assert firm.put("/v1/account/tax-id", {"number": number}).status_code == 422
    assert firm.delete("/v1/account/tax-id").status_code == 204
    assert firm.get("/v1/account/tax-id").status_code == 404
    firm.subscribe(world.plan("p", 1000, currency="EUR"))
    assert firm.invoices()[0]["tax_minor"] == 190


@pytest.fixture
def register(configure):
    """A register that knows the number of `business`, and the settings' default way to ask it."""
    with vies_register("DE123456788") as running:
        configure(vat_check="vies", vies_url=running.url)
        yield running


def checks_of(world, firm):
    """Return (outcome, error, reference, requester) of each question to the register, oldest first."""
    columns = (TaxIdCheck.outcome, TaxIdCheck.error, TaxIdCheck.reference, TaxIdCheck.requester)
    with world.app.app_context():
        query = sa.select(*columns).where(TaxIdCheck.account_id == firm.id).order_by(TaxIdCheck.id)
        return [tuple(row) for row in db.session.execute(query)]


def tax_id_of(firm):
    tax_id = firm.get("/v1/account/tax-id").json
    return tax_id["status"], tax_id["error"], tax_id["reverse_charge"]


def test_the_register_is_asked_by_default_once_the_seller_has_a_number(app):
    assert app.extensions["settings"].vat_check == "vies"


def test_a_number_that_only_looks_right_frees_nobody_from_tax(world, register):
    price = world.plan("p", 1000, currency="EUR")
    firm, impostor = business(world), business(world, "DE123456704")
    world.go_to("2026-01-15T12:01:00")
    firm.subscribe(price)
    impostor.subscribe(price)
    assert (tax_id_of(firm), tax_id_of(impostor)) == (("valid", None, True), ("invalid", None, False))
    assert [customer.invoices()[0]["tax_minor"] for customer in (firm, impostor)] == [0, 190]
    evidence = firm.get("/v1/account/tax-id").json["reference"]
    assert evidence.startswith("WAPIAAAA") and checks_of(world, firm) == [("valid", None, evidence, SELLER)]
    assert register.requests[0] == {
        "countryCode": "DE",
        "vatNumber": "123456788",
        "requesterMemberStateCode": "IE",
        "requesterNumber": "1234564WA",
    }


@pytest.mark.parametrize("failure", FAILURES)
def test_tax_is_charged_until_the_register_can_answer(world, register, failure):
    register.failure, register.failure_status = failure, 200 if "REQ" in failure else 500
    price = world.plan("p", 1000, currency="EUR")
    firm = business(world)
    assert tax_id_of(firm) == ("unchecked", None, False)
    world.go_to("2026-01-15T12:01:00")
    assert tax_id_of(firm) == ("unverified", failure, False)
    firm.subscribe(price)
    world.go_to("2026-01-15T13:30:00")
    assert [outcome for outcome, *_ in checks_of(world, firm)] == ["unavailable", "unavailable"]
    register.failure = None
    world.go_to("2026-01-15T14:30:00")
    assert tax_id_of(firm) == ("valid", None, True)
    world.go_to("2026-02-16T12:00:00")
    assert [invoice["tax_minor"] for invoice in firm.invoices()] == [190, 0]


def test_a_failure_inside_an_answer_or_a_broken_answer_confirms_nothing(world, register):
    register.failure, register.as_user_error = "MS_UNAVAILABLE", True
    firm = business(world)
    world.go_to("2026-01-15T12:01:00")
    assert tax_id_of(firm) == ("unverified", "MS_UNAVAILABLE", False)
    register.failure = None
    for garbage in (b"<html>", b"[]", b'{"valid": "true"}', b'{"errorWrappers": [7]}', b'{"errorWrappers": "x"}'):
        register.garbage = garbage
        world.go_to(world.clock.at.replace(hour=world.clock.at.hour + 2))
        assert tax_id_of(firm) == ("unverified", "NO_RESPONSE", False)


def test_a_number_that_the_register_finds_malformed_is_invalid(world, register, app):
    firm = business(world)
    with app.app_context():  # stored before check digits were checked
        db.session.execute(sa.update(TaxId).where(TaxId.account_id == firm.id).values(number="DE123456789"))
        jobs.enqueue_job("tax_id.sweep", {}, world.clock.at)
        db.session.commit()
    world.go_to("2026-01-17T12:00:00")  # the daily sweep asks about numbers that nobody asked about
    assert tax_id_of(firm) == ("invalid", None, False)


def test_numbers_from_before_the_seller_had_one_are_checked_later(app, world, register, configure):
    configure(seller_vat_id="")
    firm, abroad = business(world), business(world, "GB980780684", "GB")
    with app.app_context():
        jobs.enqueue_job("tax_id.sweep", {}, world.clock.at)
        db.session.commit()
    world.go_to("2026-01-16T12:00:00")
    assert register.requests == []
    configure(seller_vat_id=SELLER)
    world.go_to("2026-01-18T12:00:00")
    assert tax_id_of(firm) == ("valid", None, True)
    assert tax_id_of(abroad) == ("unchecked", None, False)
    assert len(register.requests) == 1


def test_an_answer_about_a_number_that_was_replaced_meanwhile_is_only_recorded(world, register):
    firm = business(world, "DE123456704")
    firm.put("/v1/account/tax-id", {"number": "DE123456788"})
    world.go_to("2026-01-15T12:01:00")
    assert tax_id_of(firm) == ("valid", None, True)
    firm.delete("/v1/account/tax-id")
    firm.put("/v1/account/tax-id", {"number": "DE123456704"})
    world.go_to("2026-01-15T12:02:00")
    assert tax_id_of(firm) == ("invalid", None, False)


def test_a_company_in_the_sellers_own_country_pays_the_tax(world, register):
    world.operator.put("/v1/admin/tax-rates/IE", {"percent": 23, "name": "VAT"})
    register.numbers.add("IE6388047V")
    neighbour = business(world, "IE6388047V", "IE")
    world.go_to("2026-01-15T12:01:00")
    neighbour.subscribe(world.plan("p", 1000, currency="EUR"))
    assert tax_id_of(neighbour) == ("valid", None, False)
    assert neighbour.invoices()[0]["tax_minor"] == 230


def test_a_check_is_recorded_before_the_register_is_asked(world, register):
    firm = business(world)
    respond, seen = register.respond, []

    def respond_and_look(body):
        seen.extend(checks_of(world, firm))
        return respond(body)

    register.respond = respond_and_look
    world.go_to("2026-01-15T12:01:00")
    assert seen == [(None, None, None, SELLER)]
