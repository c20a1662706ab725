import pytest

from streamsvc.models import Account
from streamsvc.storage.database import db
from tests.worlds.billing_world import World


@pytest.fixture
def world(app):
    world = World(app)
    yield world
    assert world.differences() == []


def customer(app, world, **facts):
    person = world.person(country="DE")
    with app.app_context():
        account = db.session.get(Account, person.id)
        for name, value in facts.items():
            setattr(account, name, value)
        db.session.commit()
    return person


def test_an_invoice_page_is_in_the_customers_language(app, world):
    world.operator.put("/v1/admin/tax-rates/DE", {"percent": 19, "name": "MwSt."})
    ann = customer(app, world, name="Änne <b>Müller</b>", locale="de-AT")
    ann.subscribe(world.plan("standard", 1190, currency="EUR", tax="inclusive"))
    invoice = ann.invoices()[0]
    page = ann.get(f"/v1/invoices/{invoice['id']}/html")
    assert page.content_type == "text/html; charset=utf-8"
    for words in ("Rechnung 2026-000001", "€\xa011,90", "MwSt. 19\xa0% (Netto €\xa010,00)", "15.01.2026 – 14.02.2026"):
        assert words in page.text
    assert "Änne &lt;b&gt;Müller&lt;/b&gt;" in page.text
    assert "script" not in page.headers["Content-Security-Policy"]


def test_an_issued_invoice_does_not_change_with_its_customer(app, world):
    ann = customer(app, world, name="Before")
    ann.subscribe(world.plan("standard", 1000, currency="EUR"))
    path = f"/v1/invoices/{ann.invoices()[0]['id']}"
    before = ann.get(path).json
    with app.app_context():
        db.session.get(Account, ann.id).name = "After"
        db.session.commit()
    world.operator.put("/v1/admin/tax-rates/DE", {"percent": 19, "name": "MwSt."})
    assert ann.get(path).json == before
    assert "Before" in ann.get(path + "/html").text


def test_an_invoice_that_is_not_open_cannot_be_paid(app, world):
    ann = world.person()
    ann.subscribe(world.plan("standard", 1000))
    response = ann.post(f"/v1/invoices/{ann.invoices()[0]['id']}/payments", {})
    assert (response.status_code, response.json["code"]) == (409, "invoice_not_open")


def test_an_overdue_invoice_is_paid_by_hand_with_another_card(app, world):
    ann = world.person()
    ann.subscribe(world.plan("standard", 1000))
    world.next_charge("decline")
    world.go_to("2026-02-15T06:00:00")
    late = ann.invoices()[-1]["id"]
    bad = ann.post("/v1/payment-methods", {"token": "pm_card_chargeDeclinedInsufficientFunds"}).json["id"]
    response = ann.post(f"/v1/invoices/{late}/payments", {"payment_method_id": bad})
    assert (response.status_code, response.json["decline_code"]) == (402, "insufficient_funds")
    response = ann.post(f"/v1/invoices/{late}/payments", {})
    assert (response.status_code, response.json["status"]) == (201, "succeeded")
    assert ann.subscription()["status"] == "active"


@pytest.mark.every_database
def test_a_page_of_invoices_has_each_as_it_is_read_alone(world):
    ann, ben = world.person(), world.person()
    for person in (ann, ben):
        person.subscribe(world.plan(f"plan-of-{person.id}", 3100))
    world.go_to("2026-04-20T06:00:00")
    newest, *older = reversed(ann.invoices())
    for amount_minor in (100, 250):
        world.operator.post(f"/v1/admin/invoices/{newest['id']}/credit-notes", {"amount_minor": amount_minor})
    world.operator.post(f"/v1/admin/invoices/{older[0]['id']}/refunds", {"amount_minor": 50})
    alone = [ann.get(f"/v1/invoices/{invoice['id']}").json for invoice in (newest, *older)]
    assert [len(invoice["credit_notes"]) for invoice in alone[:2]] == [2, 1]
    page = ann.get("/v1/invoices?limit=2&include_total=true").json
    rest = ann.get(f"/v1/invoices?limit=2&cursor={page['next_cursor']}").json
    assert page["items"] + rest["items"] == alone
    assert (len(alone), page["total"], rest["next_cursor"]) == (4, 4, None)
