"""The customer at Stripe: created once, with what Stripe needs to know, and deleted with the person."""

import json
from datetime import timedelta

import pytest

from streamsvc.operations.billing.subscriptions.importing import import_subscribers
from tests.worlds.billing_world import World
from tests.worlds.sessions_steps import mailed_token
from tests.worlds.stripe_events import deliver_event, event, last_intent, tick, use_stripe
from tests.worlds.stripe_server import error_response


@pytest.fixture
def world(app, stripe):
    world = World(app)
    yield world
    assert world.differences() == []


def email_of(person):
    return person.get("/v1/account").json["email"]


def requests_to(stripe, method, path):
    return [params for verb, name, params, _ in stripe.requests if (verb, name) == (method, path)]


def test_the_customer_and_the_charge_say_what_they_are_for(world, stripe):
    ann = world.person()
    ann.subscribe(world.plan("p", 1000))
    [customer] = stripe.customers.values()
    assert customer["email"] == email_of(ann)
    world.go_to("2026-02-16")
    first, renewal = requests_to(stripe, "POST", "/v1/payment_intents")
    first_invoice, renewal_invoice = ann.invoices()
    assert (first["metadata[invoice_id]"], first["description"]) == (
        first_invoice["id"],
        f"Invoice {first_invoice['id']}",
    )
    assert "metadata[invoice_number]" not in first, "it is numbered when it is paid"
    assert (renewal["metadata[invoice_number]"], renewal["description"]) == (
        renewal_invoice["number"],
        f"Invoice {renewal_invoice['number']}",
    )
    assert {"statement_descriptor_suffix", "receipt_email"} & {*first, *renewal} == set()


def test_the_statement_suffix_goes_along_if_it_is_configured(world, app, stripe, monkeypatch):
    suffix = app.extensions["settings"].replace(stripe_statement_suffix="STREAMING")
    monkeypatch.setitem(app.extensions, "settings", suffix)
    world.person().subscribe(world.plan("p", 1000))
    [charge] = requests_to(stripe, "POST", "/v1/payment_intents")
    assert charge["statement_descriptor_suffix"] == "STREAMING"


def test_a_setup_before_the_first_card_uses_the_same_customer(world, stripe):
    ann = world.person(card=None)
    for _ in range(2):
        ann.post("/v1/payment-methods/setup")
        stripe.responses.clear()
    ann.add_card()
    assert len(stripe.customers) == 1


def test_a_customer_deleted_without_an_event_is_created_again(world, stripe):
    ann = world.person()
    for path, body in (("/v1/payment-methods", {"token": "pm_card_visa"}), ("/v1/payment-methods/setup", None)):
        [customer] = stripe.customers
        stripe.delete_customer(customer)
        assert ann.post(path, body).status_code == 201
        assert [*stripe.customers] != [customer]
    ann.put(f"/v1/payment-methods/{ann.add_card()}/default")
    assert ann.subscribe(world.plan("p", 1000)).json["status"] == "active"


def test_a_removed_card_is_detached(world, stripe):
    ann, bob = world.person(), world.person()
    of_ann, of_bob = stripe.methods.values()
    card = ann.get("/v1/payment-methods").json["items"][0]["id"]
    stripe.failure = error_response(503, "api_error")
    assert ann.delete(f"/v1/payment-methods/{card}").status_code == 204
    tick(world)
    assert of_ann["customer"] is not None
    stripe.failure = None
    world.go_to("2026-01-15T12:15:00")
    assert (of_ann["customer"], of_bob["customer"] is None) == (None, False)
    customer = next(iter(stripe.customers))
    deliver_event(world, event(1, "payment_method.detached", of_ann, customer=customer))
    tick(world)
    assert len(bob.get("/v1/payment-methods").json["items"]) == 1


def test_a_card_that_is_detached_already_stays_removed(world, stripe):
    ann = world.person()
    [method] = stripe.methods.values()
    stripe.detach(method["id"])
    ann.delete(f"/v1/payment-methods/{ann.get('/v1/payment-methods').json['items'][0]['id']}")
    tick(world)
    assert ann.get("/v1/payment-methods").json["items"] == []


def test_an_erased_person_is_deleted_at_stripe_after_the_grace_period(world, app, stripe):
    ann, bob = world.person(), world.person()
    price = world.plan("p", 1000)
    for person in (ann, bob):
        person.subscribe(price)
    of_ann, of_bob = stripe.customers
    assert ann.delete("/v1/account").status_code == 204
    tick(world)
    assert of_ann in stripe.customers, "the account can still be restored"
    world.go_to("2026-01-29T11:00:00")
    stripe.failure = error_response(500, "api_error")
    world.go_to("2026-01-29T12:01:00")
    stripe.failure = None
    world.go_to("2026-01-29T12:15:00")
    assert [*stripe.customers] == [of_bob]
    invoices = world.operator.get(f"/v1/admin/invoices?account_id={ann.id}").json["items"]
    assert [invoice["status"] for invoice in invoices] == ["paid"], "tax law requires them"
    world.go_to("2026-02-16")
    assert stripe.charged_amounts() == [1000, 1000, 1000]


def test_an_imported_customer_gets_further_cards(world, app, stripe, tmp_path):
    world.plan("p", 1000)
    stripe.customers["cus_old"] = {"id": "cus_old", "object": "customer"}
    method = stripe.create_method("pm_card_visa") | {"customer": "cus_old"}
    stripe.methods[method["id"]] = method
    ann = world.person(card=None)
    record = {
        "external_id": "old-1",
        "email": email_of(ann),
        "country": "US",
        "started_on": "2025-11-20",
        "paid_through": "2026-02-20",
        "price": {"plan": "p", "currency": "USD", "amount_minor": 1000},
        "payment_method": {"reference": f"cus_old/{method['id']}", "brand": "visa", "last4": "4242"},
    }
    file = tmp_path / "subscribers.ndjson"
    file.write_text(json.dumps(record))
    with app.app_context():
        report = import_subscribers(file, world.clock.at)
    assert (report.counts["added"], report.rejections) == (1, [])
    ann.add_card()
    assert {item["customer"] for item in stripe.methods.values()} == {"cus_old"}


def test_the_api_version_is_pinned(world, stripe):
    world.person().subscribe(world.plan("p", 1000))
    assert stripe.versions == {"2026-10-28.endive"}


def test_no_other_key_is_accepted(world, app, stripe, monkeypatch):
    address = app.extensions["settings"].stripe_url
    ann = world.person()
    use_stripe(app, monkeypatch, address, stripe_secret_key="sk_test_2")
    response = ann.post("/v1/payment-methods", {"token": "pm_card_visa"})
    assert (response.status_code, response.headers["Retry-After"]) == (503, "2")
    assert ann.subscribe(world.plan("p", 1000)).json["status"] == "incomplete"
    use_stripe(app, monkeypatch, address)
    world.go_to("2026-01-15T12:01:00")
    assert (ann.subscription()["status"], last_intent(stripe)["status"]) == ("active", "succeeded")


def test_a_changed_email_address_is_sent_to_the_customer_at_stripe(world, app, stripe):
    """Ann has a customer there, Bob has none. Stripe is down at first; the undone change is sent too."""
    ann, bob = world.person(), world.person(card=None)
    [customer] = stripe.customers.values()
    former = email_of(ann)
    stripe.failure = error_response(500, "api_error")
    for person, email in ((ann, "ann@elsewhere.example"), (bob, "bob@elsewhere.example")):
        assert person.put("/v1/account/email", {"email": email}).status_code == 202
        confirmation = {"token": mailed_token(app, email, "email_change")}
        assert person.client.put("/v1/email-verifications", json=confirmation).status_code == 204
    tick(world)
    assert customer["email"] == former
    stripe.failure = None
    world.go_to(world.clock.at + timedelta(minutes=11))
    assert customer["email"] == email_of(ann) == "ann@elsewhere.example"
    assert len(stripe.customers) == 1
    undo = {"token": mailed_token(app, former, "email_undo")}
    assert ann.client.put("/v1/email-verifications", json=undo).status_code == 204
    tick(world)
    assert customer["email"] == former
