"""Every operation by which a customer may charge a card is limited against card testing."""

import pytest

from streamsvc.rules.refusals.billing import PaymentFailed
from tests.worlds.billing_world import World

BODIES = {
    "POST /v1/subscriptions": {"price_id": "{price}"},
    "POST /v1/subscriptions/{subscription}/plan-change": {"price_id": "{price}"},
    "PUT /v1/subscriptions/{subscription}/anchor": {"day": 3},
    "DELETE /v1/subscriptions/{subscription}/anchor": None,
    "DELETE /v1/subscriptions/{subscription}/pause": None,
    "POST /v1/subscriptions/{subscription}/addons": {"price_id": "{price}"},
    "PATCH /v1/subscriptions/{subscription}/addons/sports": {"quantity": 2},
    "DELETE /v1/subscriptions/{subscription}/addons/sports": None,
    "DELETE /v1/subscriptions/{subscription}/addons/sports/removal": None,
    "POST /v1/invoices/{invoice}/payments": {},
    "POST /v1/gift-purchases": {"price_id": "{price}", "periods": 1},
}
LIMITED_OTHERWISE = {"POST /v1/payment-methods"}
"""Adding cards has a limit of its own, and what is overdue is then charged within the other: test_card_testing.py."""


def charging_operations(app):
    """Return the operations of customers whose description lists `payment_failed`, as the keys of BODIES."""
    names = {"<subscription_id>": "{subscription}", "<invoice_id>": "{invoice}", "<plan>": "sports"}
    operations = set()
    for rule in app.url_map.iter_rules():
        if PaymentFailed not in getattr(app.view_functions[rule.endpoint], "refusals", ()) or "/admin/" in rule.rule:
            continue
        path = rule.rule
        for name, value in names.items():
            path = path.replace(name, value)
        operations |= {f"{method} {path}" for method in rule.methods - {"HEAD", "OPTIONS"}}
    return operations


def test_the_list_of_charging_operations_is_complete(app):
    assert charging_operations(app) == BODIES.keys() | LIMITED_OTHERWISE


@pytest.fixture
def ann(app):
    """A subscriber with five declined payments within the hour."""
    world = World(app)
    base, dearer, sports = world.plan("base", 3000), world.plan("dearer", 9000), world.plan("sports", 500)
    person = world.person()
    assert person.subscribe(base, addons=[sports]).status_code == 201
    person.ids = {"subscription": person.subscription()["id"], "invoice": person.invoices()[0]["id"], "{price}": dearer}
    for _ in range(5):
        world.next_charge("decline")
        declined = person.post(f"/v1/subscriptions/{person.ids['subscription']}/plan-change", {"price_id": dearer})
        assert declined.json["code"] == "payment_failed"
    return person


def test_every_charging_operation_is_limited(ann):
    unlimited = []
    for operation, template in BODIES.items():
        method, path = operation.split(" ")
        body = template and {name: ann.ids.get(str(value), value) for name, value in template.items()}
        headers = {**ann.headers(), "Idempotency-Key": operation}
        response = ann.client.open(path.format(**ann.ids), method=method, json=body, headers=headers)
        if response.status_code != 429:
            unlimited.append((operation, response.json))
    assert unlimited == []
