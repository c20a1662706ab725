"""Introductory prices that are had once, and days without access that are credited from their first one."""

import pytest

from tests.worlds.billing_world import World

INTRO = {"intro": {"amount_minor": 100, "periods": 2}}


@pytest.fixture
def world(app):
    world = World(app)
    yield world
    assert world.differences() == []


def charged(person):
    return [amount for kind, *_, amount in person.lines() if kind == "charge"]


def cancel(person, when="now"):
    path = f"/v1/subscriptions/{person.subscription()['id']}/cancellation"
    assert person.post(path, {"when": when, "credit": "none"}).status_code == 200


def test_an_introductory_price_is_had_once_by_a_household(world):
    price = world.plan("p", 1000, **INTRO)
    ann, bob, stranger = world.person(card="pm_card_visa:7"), world.person(card=None), world.person()
    ann.subscribe(price)
    cancel(ann)
    ann.subscribe(price)
    assert charged(ann) == [100, 1000]
    bob.add_card("pm_card_visa:7")  # the same card
    bob.subscribe(price)
    assert charged(bob) == [1000]
    stranger.subscribe(price, device_fingerprint="tv 1")
    assert charged(stranger) == [100]
    other = world.person()
    other.subscribe(price, device_fingerprint="tv 1")  # the same device
    assert charged(other) == [1000]


def test_a_plan_change_gets_no_second_introductory_price(world):
    monthly, plain = world.plan("p", 1000, **INTRO), world.plan("q", 500)
    ann = world.person()
    ann.subscribe(monthly)
    cancel(ann)
    ann.subscribe(plain)
    path = f"/v1/subscriptions/{ann.subscription()['id']}/plan-change"
    assert ann.post(path, {"price_id": monthly, "when": "now"}).status_code == 200
    assert charged(ann) == [100, 500, 1000]


def test_a_declined_start_leaves_the_introductory_price_to_be_had(world):
    price = world.plan("p", 1000, **INTRO)
    ann = world.person()
    world.next_charge("decline")
    assert ann.subscribe(price).status_code == 402
    assert ann.subscribe(price).status_code == 201
    world.go_to("2026-03-16")
    paid = [invoice["total_minor"] for invoice in ann.invoices() if invoice["status"] == "paid"]
    assert paid == [100, 100, 1000]


def test_days_without_access_are_credited_from_the_first_one_though_that_invoice_is_paid_first(world):
    ann = world.person()
    ann.subscribe(world.plan("p", 3100))
    for _ in range(20):
        world.next_charge("decline")
    world.go_to("2026-02-18T12:00:00+00:00")  # the renewal failed on 15 February: no access from the 22nd
    body = {"account_id": ann.id, "amount_minor": 500, "currency": "USD", "description": "A film", "tax": "exclusive"}
    assert world.operator.post("/v1/admin/invoices", body).status_code == 201
    world.go_to("2026-02-26T12:00:00+00:00")
    renewal, _film = [invoice for invoice in ann.invoices() if invoice["status"] == "open"]
    world.operator.post(f"/v1/admin/invoices/{renewal['id']}/payments", {})
    assert ann.subscription()["status"] == "past_due"  # for the film, since the 25th
    assert not ann.get("/v1/sessions/current").json["entitlements"]["active"]
    world.go_to("2026-02-27T12:00:00+00:00")
    credit = {"amount_minor": 500, "currency": "USD", "reason": "sorry"}
    assert world.operator.post(f"/v1/admin/accounts/{ann.id}/credits", credit).status_code == 201
    assert ann.subscription()["status"] == "active"
    assert [line[1:3] for line in ann.lines() if line[0] == "credit"] == [("2026-02-22", "2026-02-27")]
