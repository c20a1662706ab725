"""Whoever tries stolen cards is stopped after a few; a household with a typo is not."""

from contextlib import contextmanager
from datetime import timedelta

import pytest
import sqlalchemy as sa

from streamsvc.storage.database import db
from tests.worlds.billing_world import World
from tests.worlds.scenes import set_scene


def build_world(app):
    world = World(app)
    world.price = world.plan("p", 3100)
    world.bystander = world.person()
    return world


@pytest.fixture
def world(app):
    """Every test ends with an audit of the books, and with a bystander who can still pay."""
    world = set_scene(app, build_world)
    yield world
    assert world.differences() == []
    assert world.bystander.subscribe(world.price).status_code == 201


def start(world, person, method_id=None):
    return person.subscribe(world.price, **({"payment_method_id": method_id} if method_id else {}))


def assert_limited(response):
    assert (response.status_code, response.json["code"]) == (429, "too_many_attempts")
    assert int(response.headers["Retry-After"]) > 0


def wait(world, **time):
    world.go_to(world.clock.at + timedelta(**time))


def test_declined_starts_are_stopped_after_five_in_an_hour(world, statements):
    ann = world.person(card="pm_card_chargeDeclined")
    assert [start(world, ann).json["code"] for _ in range(5)] == ["payment_failed"] * 5
    good = ann.add_card("pm_card_visa")
    statements.clear()
    assert_limited(start(world, ann))
    assert_limited(start(world, ann, good))
    assert not [text for text in statements if text.startswith(("INSERT", "UPDATE")) and "rate_limit" in text]
    assert len(world.charges(status="declined")) == 5
    wait(world, hours=1, seconds=1)
    assert start(world, ann, good).status_code == 201


def test_declined_starts_are_stopped_after_twenty_in_a_day(world):
    ann = world.person(card=None)
    for number in range(4):
        wait(world, hours=1, seconds=1)
        card = ann.add_card(f"pm_card_chargeDeclined:{number}")
        assert [start(world, ann, card).status_code for _ in range(5)] == [402] * 5
    limited = start(world, ann)
    assert_limited(limited)
    assert int(limited.headers["Retry-After"]) > 20 * 3600, "the longer of both waits"
    wait(world, hours=21)
    assert start(world, ann, card).status_code == 402


def test_a_typo_and_what_charges_nothing_do_not_count(world):
    """One decline, many payments that succeed, many requests that are refused before a card is charged."""
    dearer = world.plan("q", 6200)
    ann = world.person(card="pm_card_chargeDeclined")
    assert start(world, ann).status_code == 402
    ann.put(f"/v1/payment-methods/{ann.add_card('pm_card_visa')}/default")
    for _ in range(8):
        assert ann.subscribe("pri_none").status_code == 422
    assert start(world, ann).status_code == 201
    for _ in range(8):
        assert start(world, ann).json["code"] == "already_subscribed"
    path = f"/v1/subscriptions/{ann.subscription()['id']}/plan-change"
    for price in [dearer, world.price] * 4:
        assert ann.post(path, {"price_id": price, "when": "now"}).status_code == 200
    without_card = world.person(card=None)
    assert {start(world, without_card).json["decline_code"] for _ in range(8)} == {"payment_method_required"}


def test_declines_count_together_whatever_is_paid(world):
    dearer, addon = world.plan("q", 6200), world.plan("sports", 500)
    ann = world.person()
    start(world, ann)
    card = ann.add_card("pm_card_chargeDeclined")
    ann.put(f"/v1/payment-methods/{card}/default")
    path = f"/v1/subscriptions/{ann.subscription()['id']}"
    body = {"account_id": ann.id, "amount_minor": 1190, "currency": "USD", "description": "A poster"}
    assert [ann.post(f"{path}/plan-change", {"price_id": dearer}).status_code for _ in range(2)] == [402] * 2
    assert ann.post(f"{path}/addons", {"price_id": addon}).status_code == 402
    invoice = world.operator.post("/v1/admin/invoices", body).json
    pay = f"/v1/invoices/{invoice['id']}/payments"
    assert [ann.post(pay).status_code for _ in range(2)] == [402] * 2
    assert_limited(ann.post(pay))
    assert_limited(ann.post(f"{path}/addons", {"price_id": addon}))
    declined = len(world.charges(status="declined"))
    assert ann.put(f"/v1/payment-methods/{card}/default").status_code == 200  # what is overdue waits for its schedule
    assert len(world.charges(status="declined")) == declined
    assert ann.post(f"{path}/cancellation", {"when": "period_end"}).status_code == 200


def test_a_new_default_card_that_is_declined_for_what_is_overdue_counts(world):
    ann = world.person()
    start(world, ann)
    world.next_charge("decline")
    body = {"account_id": ann.id, "amount_minor": 1190, "currency": "USD", "description": "A poster"}
    invoice = world.operator.post("/v1/admin/invoices", body).json
    card = ann.add_card("pm_card_chargeDeclined")
    for _ in range(6):
        ann.put(f"/v1/payment-methods/{card}/default")
    assert len(world.charges(status="declined")) == 6  # the operator's, one when it was added, four as the default
    assert_limited(ann.post(f"/v1/invoices/{invoice['id']}/payments"))


def test_a_payment_that_its_payer_authenticates_does_not_count_and_an_abandoned_one_does(world):
    ann = world.person(card="pm_card_authenticationRequired")
    for _ in range(4):
        response = start(world, ann)
        assert response.json["code"] == "authentication_required"
    assert world.operator.post(response.json["next_action"]["path"], {"approve": True}).status_code == 200
    addons = [world.plan(f"extra{number}", 500 + number) for number in range(2)]
    path = f"/v1/subscriptions/{ann.subscription()['id']}/addons"
    assert ann.post(path, {"price_id": addons[0]}).json["code"] == "authentication_required"
    assert ann.post(path, {"price_id": addons[0]}).json["code"] == "authentication_required"
    assert_limited(ann.post(path, {"price_id": addons[1]}))


def test_a_card_is_stopped_after_ten_declines_on_any_account(world):
    people = [world.person(card="pm_card_chargeDeclined:stolen") for _ in range(3)]
    for person in people[:2]:
        assert [start(world, person).status_code for _ in range(5)] == [402] * 5
    assert_limited(start(world, people[2]))
    assert start(world, people[2], people[2].add_card("pm_card_visa")).status_code == 201


def test_cards_are_added_ten_times_a_day(world):
    ann, bob = world.person(card=None), world.person(card=None)
    for _ in range(9):
        ann.add_card()
    assert ann.post("/v1/payment-methods", {"token": "no_such_card"}).status_code == 422
    assert_limited(ann.post("/v1/payment-methods", {"token": "pm_card_visa"}))
    bob.add_card()
    wait(world, days=1, seconds=1)
    ann.add_card()


@contextmanager
def refused_inserts(app, table):
    """The database refuses what is inserted into this table, as on a full disk."""

    def refuse(connection, cursor, statement, *_):
        if statement.startswith(f"INSERT INTO {table} "):
            raise sa.exc.OperationalError(statement, {}, Exception("no space left"))

    with app.app_context():
        engine = db.engine
    sa.event.listen(engine, "before_cursor_execute", refuse)
    yield
    sa.event.remove(engine, "before_cursor_execute", refuse)


def test_a_card_that_the_database_could_not_save_does_not_count(app, world):
    ann = world.person(card=None)
    with refused_inserts(app, "payment_methods"):
        for _ in range(12):
            assert ann.post("/v1/payment-methods", {"token": "pm_card_visa"}).status_code == 503
    for _ in range(10):
        ann.add_card()


def test_an_address_is_stopped_after_many_declines_on_any_account(world, monkeypatch):
    from streamsvc.rules import rate_limits

    monkeypatch.setattr(rate_limits, "DECLINES_BY_ADDRESS", rate_limits.RateLimit("payment.declines_address", 3, 3600))
    people = [world.person(card="pm_card_chargeDeclined") for _ in range(4)]
    assert [start(world, person).status_code for person in people] == [402, 402, 402, 429]
    wait(world, hours=1, seconds=1)


def test_a_replayed_request_does_not_count_again(world):
    ann = world.person(card="pm_card_chargeDeclined")
    for _ in range(8):
        assert ann.post("/v1/subscriptions", {"price_id": world.price}, key="order-1").status_code == 402
    assert start(world, ann).status_code == 402
