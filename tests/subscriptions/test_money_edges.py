"""Introductory prices that are had once, and days without access that are credited from their first one."""

import pytest
import sqlalchemy as sa

from streamsvc.models.subscriptions import Discount
from streamsvc.storage.database import db
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


def test_a_second_dispute_credits_no_day_that_had_access_since_the_first(world):
    """The grace period counts from the first dispute, so the second one ends the access at once: as of tomorrow."""
    ann = world.person()
    ann.subscribe(world.plan("p", 3100))

    def dispute(amount_minor):
        payment = ann.invoices()[0]["payments"][-1]["id"]
        world.operator.post(f"/v1/sandbox/payments/{payment}/dispute", {"amount_minor": amount_minor})

    dispute(1000)
    ann.add_card()  # pays what is owed again
    world.go_to("2026-01-25T12:00:00+00:00")
    assert ann.subscription()["status"] == "active"
    dispute(500)
    session = ann.get("/v1/sessions/current").json
    assert (ann.subscription()["status"], session["entitlements"]["active"]) == ("past_due", False)
    world.go_to("2026-01-28T12:00:00+00:00")
    ann.add_card()
    assert [line[:3] for line in ann.lines() if line[0] == "credit"] == [("credit", "2026-01-26", "2026-01-28")]


def coupon_used(world, person):
    """Return the periods that the coupon has been counted for, and whether it still runs."""
    with world.app.app_context():
        discount = db.session.scalars(sa.select(Discount)).one()
        return discount.periods_used, discount.ended_at is None


def change(person, price, when="now"):
    path = f"/v1/subscriptions/{person.subscription()['id']}/plan-change"
    return person.post(path, {"price_id": price, "when": when})


@pytest.fixture
def ann(world):
    """A subscriber to `a` of five plans, with a coupon for two periods given on the tenth day."""
    ann = world.person()
    ann.prices = [world.plan(code, amount) for code, amount in (("a", 1000), ("b", 2000), ("c", 3000), ("d", 4000))]
    ann.subscribe(ann.prices[0])
    world.go_to("2026-01-25T12:00:00+00:00")
    body = {"percent_off": 50, "duration": "repeating", "periods": 2}
    assert world.operator.put("/v1/admin/coupons/HALF", body).status_code == 200
    path = f"/v1/subscriptions/{ann.subscription()['id']}/coupons"
    assert ann.post(path, {"coupon": "HALF"}).status_code == 201
    return ann


def test_a_period_in_which_a_coupon_gave_something_only_on_changes_counts_once(world, ann):
    assert change(ann, ann.prices[1]).status_code == 200
    assert change(ann, ann.prices[2]).status_code == 200
    assert coupon_used(world, ann) == (1, True)
    world.go_to("2026-02-16T12:00:00+00:00")
    assert coupon_used(world, ann) == (2, False)
    world.go_to("2026-03-16T12:00:00+00:00")
    renewals = [invoice["total_minor"] for invoice in ann.invoices() if invoice["reason"] == "renewal"]
    assert renewals == [1500, 3000]


def test_a_declined_change_gives_the_period_back_and_revives_no_removed_coupon(world, ann):
    world.next_charge("decline")
    assert change(ann, ann.prices[3]).status_code == 402
    assert coupon_used(world, ann) == (0, True)
    world.go_to("2026-02-14T12:00:00+00:00")
    world.next_charge("decline")
    world.go_to("2026-02-15T12:00:00+00:00")
    renewal = ann.invoices()[-1]
    assert (renewal["status"], coupon_used(world, ann)) == ("open", (1, True))
    assert ann.delete(f"/v1/subscriptions/{ann.subscription()['id']}/coupons/HALF").status_code == 200
    assert world.operator.post(f"/v1/admin/invoices/{renewal['id']}/void", {}).status_code == 200
    assert coupon_used(world, ann) == (0, False)
