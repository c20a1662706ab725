"""Tax categories: a country's rates for streaming and, say, magazines; one invoice carries both."""

import pytest

from tests.worlds.billing_world import FEATURES, World

SELLER = "IE1234564WA"


@pytest.fixture
def world(app):
    """A world at noon of 1 April with two German rates. Every test ends with an audit of the books."""
    world = World(app)
    world.go_to("2026-04-01T12:00:00")
    put_rate(world, 19, "MwSt")
    put_rate(world, 7, "MwSt ermäßigt", category="reduced")
    yield world
    assert world.differences() == []


def put_rate(world, percent, name, country="DE", **category):
    response = world.operator.put(f"/v1/admin/tax-rates/{country}", {"percent": percent, "name": name, **category})
    assert response.status_code == 200, response.json
    return response.json


def put_plan(world, code, amount, tax="exclusive", **members):
    price = {"currency": "EUR", "amount_minor": amount, "tax": tax}
    body = {"name": code.title(), "features": FEATURES, "prices": [price], **members}
    response = world.operator.put(f"/v1/admin/plans/{code}", body)
    assert response.status_code == 200, response.json
    return response.json["prices"][0]["id"]


def put_plans(world, tax="exclusive", video=1000, magazine=500):
    """Create a plan at the standard rate and an add-on at the reduced one."""
    return (
        put_plan(world, "video", video, tax),
        put_plan(world, "magazine", magazine, tax, addon=True, tax_category="reduced"),
    )


def reader(world, plans, country="DE", **more):
    person = world.person(country=country)
    response = person.subscribe(plans[0], addons=[plans[1]], **more)
    assert response.status_code == 201, response.json
    return person


def taxes(invoice):
    """Return (category, percent, net, tax) of each rate on the invoice."""
    return [tuple(tax[name] for name in ("category", "percent", "net_minor", "tax_minor")) for tax in invoice["taxes"]]


def step(person, what, body):
    response = person.post(f"/v1/subscriptions/{person.subscription()['id']}/{what}", body)
    assert response.status_code in (200, 201), response.json
    return response.json


def test_an_invoice_carries_two_rates(world):
    plans = put_plans(world)
    ann = world.person(country="DE")
    preview = ann.post("/v1/invoice-previews", {"price_id": plans[0], "addons": [plans[1]]}).json
    ann.subscribe(plans[0], addons=[plans[1]])
    invoice = ann.invoices()[0]
    assert taxes(invoice) == taxes(preview) == [("standard", 19.0, 1000, 190), ("reduced", 7.0, 500, 35)]
    assert [tax["name"] for tax in invoice["taxes"]] == ["MwSt", "MwSt ermäßigt"]
    assert (invoice["tax_minor"], invoice["total_minor"]) == (225, 1725)
    assert [line["tax_category"] for line in invoice["lines"]] == ["standard", "reduced"]
    world.go_to("2026-05-02T12:00:00")  # a batch
    assert taxes(ann.invoices()[1]) == taxes(invoice)


def test_taxes_in_and_on_top_of_prices_are_shown_by_rate(world):
    """19 % in 11.90 and on top of 10.00; 7 % in 5.35. The net amounts exclude the tax."""
    plans = put_plans(world, "inclusive", 1190, 535)
    extra = put_plan(world, "extra", 1000)
    ann = world.person(country="DE")
    ann.subscribe(plans[0], addons=[plans[1], extra])
    invoice = ann.invoices()[0]
    assert taxes(invoice) == [("standard", 19.0, 2000, 380), ("reduced", 7.0, 500, 35)]
    assert (invoice["total_minor"], invoice["tax_minor"]) == (1190 + 535 + 1190, 415)


def test_a_discount_is_shared_over_the_rates(world):
    """3.00 off 15.00 take 2.00 off the plan and 1.00 off the magazine."""
    coupon = {"amount_off_minor": 300, "currency": "EUR", "duration": "once"}
    world.operator.put("/v1/admin/coupons/three", coupon)
    ann = reader(world, put_plans(world), coupon="three")
    invoice = ann.invoices()[0]
    assert taxes(invoice) == [("standard", 19.0, 800, 152), ("reduced", 7.0, 400, 28)]
    assert invoice["total_minor"] == 1500 - 300 + 180


def test_a_category_without_a_rate_has_the_standard_one(world):
    put_rate(world, 20, "TVA", country="FR")
    plans = put_plans(world)
    ann, bob = reader(world, plans, country="FR"), reader(world, plans, country="US")
    assert taxes(ann.invoices()[0]) == [("standard", 20.0, 1500, 300)]
    assert taxes(bob.invoices()[0]) == [("standard", 0.0, 1500, 0)]
    assert bob.invoices()[0]["taxes"][0]["name"] is None


def test_credits_return_the_tax_of_the_rate_that_was_charged(world):
    """The rates change on the 10th. Ten of thirty days come back on the 20th, and a credit note takes the rest."""
    ann = reader(world, put_plans(world, magazine=600))
    world.go_to("2026-04-10T12:00:00")
    put_rate(world, 25, "MwSt neu")
    put_rate(world, 10, "MwSt ermäßigt neu", category="reduced")
    world.go_to("2026-04-20T12:00:00")
    magazine = ann.delete(f"/v1/subscriptions/{ann.subscription()['id']}/addons/magazine")
    assert magazine.status_code == 200
    credit = ann.invoices()[1]
    assert taxes(credit) == [("reduced", 7.0, -200, -14)]
    assert credit["taxes"][0]["name"] == "MwSt ermäßigt"
    first = ann.invoices()[0]["id"]
    note = world.operator.post(f"/v1/admin/invoices/{first}/credit-notes", {}).json
    assert (note["net_minor"], note["tax_minor"]) == (1000 + 400, 190 + 28)
    report = world.operator.get("/v1/admin/reports/revenue?from=2026-04-01&to=2026-05-01").json["taxes"]
    rows = {(row["tax_category"], row["percent"]): (row["revenue_minor"], row["tax_minor"]) for row in report}
    assert rows == {("standard", 19.0): (0, 0), ("reduced", 7.0): (0, 0)}


def test_reverse_charge_removes_the_tax_of_each_rate(world, app, monkeypatch):
    """11.90 and 5.35 contain 1.90 and 0.35, which are taken off on a line each."""
    settings = app.extensions["settings"].replace(seller_vat_id=SELLER, vat_check="form")
    monkeypatch.setitem(app.extensions, "settings", settings)
    plans = put_plans(world, "inclusive", 1190, 535)
    firm = world.person(country="DE")
    firm.put("/v1/account/tax-id", {"number": "DE123456788"})
    preview = firm.post("/v1/invoice-previews", {"price_id": plans[0], "addons": [plans[1]]}).json
    firm.subscribe(plans[0], addons=[plans[1]])
    invoice = firm.invoices()[0]
    assert taxes(invoice) == taxes(preview) == [("standard", 0.0, 1000, 0), ("reduced", 0.0, 500, 0)]
    for shown in (invoice, preview):
        assert [line["amount_minor"] for line in shown["lines"]] == [1190, 535, -190, -35]
        assert (shown["discount_minor"], shown["total_minor"]) == (225, 1500)
    mrr = world.operator.get("/v1/admin/reports/revenue?from=2026-04-01&to=2026-05-01").json["mrr"]
    assert mrr[0]["closing_minor"] == 1500
    step(firm, "cancellation", {"when": "now"})
    assert firm.invoices()[1]["total_minor"] == -(967 + 483)


def test_a_charge_of_an_operator_has_a_category(world):
    ann = reader(world, put_plans(world))
    body = {"account_id": ann.id, "amount_minor": 535, "currency": "EUR", "description": "A book"}
    charged = world.operator.post("/v1/admin/invoices", {**body, "tax_category": "reduced"}).json
    assert taxes(charged) == [("reduced", 7.0, 500, 35)]
    charged = world.operator.post("/v1/admin/invoices", {**body, "amount_minor": 595}).json
    assert taxes(charged) == [("standard", 19.0, 500, 95)]
    assert world.operator.post("/v1/admin/invoices", {**body, "tax_category": "Reduced!"}).status_code == 422


def test_a_line_added_to_a_draft_has_the_rate_of_its_category(world, app, monkeypatch):
    """0.10 at 7 % beside 5.00: 0.357 of tax in all, which is rounded once."""
    ann = reader(world, put_plans(world))
    settings = app.extensions["settings"].replace(invoice_review_hours=1)
    monkeypatch.setitem(app.extensions, "settings", settings)
    world.go_to("2026-05-01T00:30:00")
    draft = world.operator.get("/v1/admin/invoices?status=draft").json["items"][0]["id"]
    line = {"amount_minor": 10, "description": "A page", "tax": "exclusive", "tax_category": "reduced"}
    added = world.operator.post(f"/v1/admin/invoices/{draft}/lines", line).json
    assert taxes(added) == [("standard", 19.0, 1000, 190), ("reduced", 7.0, 510, 36)]
    assert added["total_minor"] == 1510 + 226
    world.go_to("2026-05-02T12:00:00")
    assert ann.invoices()[-1]["status"] == "paid"


def test_a_countrys_rates_are_audited_together(world):
    assert put_rate(world, 21, "BTW", country="NL") == {
        "country": "NL",
        "category": "standard",
        "percent": 21.0,
        "name": "BTW",
    }
    put_rate(world, 9, "BTW laag", country="NL", category="reduced")
    put_rate(world, 10, "BTW laag", country="NL", category="reduced")
    changes = [
        event["details"]
        for event in world.operator.get("/v1/admin/audit?limit=3").json["items"]
        if event["details"].get("object") == {"type": "tax_rate", "id": "NL"}
    ]
    rates = [change["new"].get("rates", {}).get("reduced", {}).get("percent") for change in changes]
    assert rates == [10, 9, None]
    assert changes[0]["old"]["rates"]["reduced"]["percent"] == 9
    assert "percent" not in changes[0]["new"]
    assert world.operator.put("/v1/admin/tax-rates/NL", {"percent": 9, "name": "B", "category": ""}).status_code == 422
