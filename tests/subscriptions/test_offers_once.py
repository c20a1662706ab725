"""Introductory prices and trials of add-ons: a household has each once, however its subscriptions come to it."""

import threading

import pytest

from tests.worlds.billing_world import World

INTRO = {"intro": {"amount_minor": 100, "periods": 2}}
TOMORROW = "2026-01-16"


@pytest.fixture
def world(app):
    world = World(app)
    yield world
    assert world.differences() == []


def household(world, size=2, card="pm_card_visa:7"):
    return [world.person(card=card) for _ in range(size)]


def charged(person):
    return [amount for kind, *_, amount in person.lines() if kind == "charge"]


def change(person, price, when="period_end"):
    path = f"/v1/subscriptions/{person.subscription()['id']}/plan-change"
    response = person.post(path, {"price_id": price, "when": when})
    assert response.status_code == 200, response.json


def put_addon(world, **terms):
    price = {"currency": "USD", "amount_minor": 500, "tax": "exclusive"} | terms
    return world.operator.put("/v1/admin/plans/sport", {"name": "Sport", "addon": True, "prices": [price]}).json[
        "prices"
    ][0]["id"]


def test_an_introductory_price_is_promised_once_to_starts_on_a_later_day(world):
    price = world.plan("p", 1000, **INTRO)
    stranger, *family = world.person(), *household(world, 3)
    for person in (stranger, *family):
        assert person.subscribe(price, start_date=TOMORROW).status_code == 201
    world.go_to("2026-02-17")
    assert [charged(person) for person in (stranger, *family)] == [[100, 100], [100, 100], *[[1000, 1000]] * 2]


def test_an_introductory_price_is_promised_once_to_scheduled_changes(world):
    plain, price = world.plan("q", 500, trial_days=7), world.plan("p", 1000, **INTRO)
    ann, bob = household(world)
    for person in (ann, bob):
        person.subscribe(plain)
        change(person, price)
    path = f"/v1/subscriptions/{ann.subscription()['id']}/plan-change"
    assert ann.delete(path).status_code == 200  # withdrawn: the other one may have it
    change(bob, world.plan("r", 400))
    change(bob, price)
    change(ann, price)
    world.go_to("2026-03-23")
    assert (charged(ann), charged(bob)) == ([1000, 1000, 1000], [500, 100, 100])


def test_an_introductory_price_is_promised_to_a_start_that_awaits_authentication(world):
    price = world.plan("p", 1000, **INTRO)
    ann, bob = household(world, card="pm_card_authenticationRequired:7")
    starts = [person.subscribe(price) for person in (ann, bob)]
    assert {start.json["code"] for start in starts} == {"authentication_required"}
    for start in starts:
        world.operator.post(f"/v1/sandbox/payments/{start.json['payment_id']}/authentication", {"approve": True})
    assert (charged(ann), charged(bob)) == ([100], [1000])


def test_who_comes_to_share_a_card_later_goes_on_at_the_full_price(world):
    price = world.plan("p", 1000, **INTRO)
    ann, bob, eva = world.person(card="pm_card_visa:7"), world.person(card=None), world.person(card=None)
    ann.subscribe(price)
    gift = world.operator.post("/v1/admin/gift-codes", {"amount_minor": 100, "currency": "USD"}).json
    world.go_to("2026-01-15T13:00:00+00:00")
    assert bob.subscribe(price, gift_code=gift["code"]).status_code == 201  # paid by the gift, so without a card
    assert eva.subscribe(price, start_date=TOMORROW).status_code == 201
    for person in (bob, eva):
        person.add_card("pm_card_visa:7")
    world.go_to("2026-03-17")
    assert [charged(person) for person in (ann, bob, eva)] == [[100, 100, 1000], [100, 1000, 1000], [1000] * 3]


def test_an_introductory_price_whose_invoice_was_voided_was_not_had(world):
    """Ann's is void; Bob, who subscribed before her, comes to share her card and has his."""
    common = {"currency": "USD", "tax": "exclusive", **INTRO}
    late, early = world.put_plan(
        "p", [{**common, "amount_minor": 1000, "trial_days": 14}, {**common, "amount_minor": 1001, "trial_days": 3}]
    )
    bob, ann = world.person(card=None), world.person(card="pm_card_visa:7")
    for person, price in ((bob, late), (ann, early)):
        assert person.subscribe(price).status_code == 201
    world.next_charge("decline")
    world.go_to("2026-01-18T12:00:00")
    [void] = [invoice for invoice in ann.invoices() if invoice["status"] == "open"]
    assert world.operator.post(f"/v1/admin/invoices/{void['id']}/void").status_code == 200
    bob.add_card("pm_card_visa:7")
    world.go_to("2026-02-20")
    assert (charged(bob), charged(ann)) == ([100], [100, 1001])


def test_an_introductory_price_that_was_transferred_is_not_promised_again(world):
    price = world.plan("p", 1000, trial_days=14, **INTRO)
    ann, bob = world.person(), world.person()
    ann.subscribe(price)
    path = f"/v1/admin/subscriptions/{ann.subscription()['id']}/transfer"
    assert world.operator.post(path, {"account_id": bob.id}).status_code == 200
    ann.subscribe(price)
    world.go_to("2026-01-30")
    assert (charged(ann), charged(bob)) == ([1000], [100])


def test_an_imported_subscription_gets_no_second_introductory_price(world):
    price = world.plan("p", 1000, **INTRO)
    ann, bob = household(world)
    ann.subscribe(price)
    body = {"account_id": bob.id, "price_id": price, "paid_through": "2026-02-15"}
    assert world.operator.post("/v1/admin/subscriptions", body).status_code == 201
    world.go_to("2026-02-16")
    assert (charged(ann), charged(bob)) == ([100, 100], [1000])


def test_the_trial_of_an_addon_is_promised_once(world):
    price, sport = world.plan("p", 1000), put_addon(world, trial_days=10)
    ann, bob, eva = world.person(card="pm_card_visa:7"), world.person(card="pm_card_visa:7"), world.person(card=None)
    for person in (ann, bob, eva):
        assert person.subscribe(price, start_date=TOMORROW, addons=[sport]).status_code == 201
    eva.add_card("pm_card_visa:7")
    world.go_to("2026-01-17")
    trials = [[line[0] for line in person.lines()].count("trial") for person in (ann, bob, eva)]
    assert (trials, charged(bob), charged(eva)) == ([1, 0, 0], [1000, 500], [1000, 500])


def start_at_once(people, price, **more):
    """Start a subscription of each in the same instant; each has its own session before."""
    barrier = threading.Barrier(len(people))
    for person in people:
        person.headers()

    def start(person):
        barrier.wait()
        statuses.append(person.subscribe(price, **more).status_code)

    statuses, threads = [], [threading.Thread(target=start, args=[person]) for person in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [201] * len(people)


@pytest.mark.every_database
def test_of_accounts_that_start_in_the_same_instant_one_gets_the_offer(world):
    price, trial = world.plan("p", 1000, **INTRO), world.plan("t", 500, trial_days=7)
    for number in range(4):
        family = household(world, 4, card=f"pm_card_visa:{number}")
        start_at_once(family, price)
        assert sorted(charged(person)[0] for person in family) == [100, 1000, 1000, 1000]
        couple = [world.person(card=f"pm_card_visa:{number}{one}") for one in "ab"]
        start_at_once(couple, trial, device_fingerprint=f"television {number}")
        assert sorted(person.subscription()["status"] for person in couple) == ["active", "trialing"]


def test_a_preview_bills_what_fell_due_before_it_looks_for_an_introductory_price(world):
    """It locks the household before the numbers of invoices, like everything else, or two requests could deadlock."""
    plain, price = world.plan("q", 500), world.plan("p", 1000, **INTRO)
    ann = world.person()
    ann.subscribe(plain)
    world.clock.advance(days=40)  # the worker has not renewed it yet
    body = {"subscription_id": ann.subscription()["id"], "price_id": price, "when": "now"}
    preview = ann.post("/v1/invoice-previews", body)
    days_left, days = 19, 28
    assert preview.status_code == 200, preview.json
    assert preview.json["lines"][-1]["amount_minor"] == round(100 * days_left / days)
    world.go_to(world.clock.at)
