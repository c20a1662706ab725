"""The sandbox's bank: customers confirm or reject their own payments, and nobody else's."""

from streamsvc.app import create_app
from tests.conftest import close_app
from tests.worlds.billing_world import World


def start(world, person):
    price = world.plan("standard", 999)
    started = person.post("/v1/subscriptions", {"price_id": price})
    assert (started.status_code, started.json["code"]) == (402, "authentication_required")
    return started.json


def statuses(person):
    return [item["status"] for item in person.get("/v1/subscriptions").json["items"]]


def test_an_approved_payment_starts_the_subscription(app):
    world = World(app)
    ann = world.person(card="pm_card_authenticationRequired")
    problem = start(world, ann)
    decided = ann.post(f"/v1/sandbox/bank/payments/{problem['payment_id']}", {"approve": True})
    assert (decided.status_code, decided.json["status"]) == (200, "succeeded")
    assert statuses(ann) == ["active"]
    assert world.charges() == [999] and world.differences() == []
    again = ann.post(f"/v1/sandbox/bank/payments/{problem['payment_id']}", {"approve": False})
    assert again.status_code == 404 and statuses(ann) == ["active"]


def test_a_rejected_payment_starts_nothing(app):
    world = World(app)
    ann = world.person(card="pm_card_authenticationRequired")
    problem = start(world, ann)
    decided = ann.post(f"/v1/sandbox/bank/payments/{problem['payment_id']}", {"approve": False})
    assert (decided.json["status"], decided.json["decline_code"]) == ("failed", "authentication_failed")
    assert statuses(ann) == ["canceled"] and world.charges() == []


def test_nobody_decides_for_somebody_else(app):
    world = World(app)
    ann, bob = world.person(card="pm_card_authenticationRequired"), world.person()
    problem = start(world, ann)
    path = f"/v1/sandbox/bank/payments/{problem['payment_id']}"
    assert bob.post(path, {"approve": True}).status_code == 404
    assert app.test_client().post(path, json={"approve": True}).status_code == 401
    assert world.operator.post(path, {"approve": True}).status_code == 401
    assert statuses(ann) == ["incomplete"] and world.charges() == []


def test_test_cards_are_named_as_usable_in_the_sandbox_alone(app):
    assert app.test_client().get("/v1/payment-config").json["sandbox"] is True
    outside = create_app(app.extensions["settings"].replace(sandbox=False))
    assert outside.test_client().get("/v1/payment-config").json == {
        "provider": "sandbox",
        "publishable_key": None,
        "api_version": None,
        "script_url": None,
        "wallets": [],
        "sandbox": False,
    }
    assert "/v1/sandbox/bank/payments/<payment_id>" not in {rule.rule for rule in outside.url_map.iter_rules()}
    close_app(outside)
