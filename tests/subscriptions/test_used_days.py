"""Today counts as used, at the dearest price that it had, whatever is changed on it and in which order."""

import pytest

from tests.worlds.billing_world import World


@pytest.fixture
def world(app):
    """Every test ends with an audit of the books."""
    world = World(app)
    yield world
    assert world.differences() == []


@pytest.fixture
def prices(world):
    """Monthly prices of 10.00, 20.00 and 30.00, a yearly one of 100.00, and one of an add-on."""
    world.go_to("2026-04-01T08:00:00")
    names = dict(zip(("basic", "standard", "premium"), world.plan("p", 1000, 2000, 3000), strict=True))
    return names | {"yearly": world.plan("y", 10_000, interval="year"), "sports": world.plan("sports", 600)}


def act(person, what, **body):
    response = person.post(f"/v1/subscriptions/{person.subscription()['id']}/{what}", body)
    assert response.status_code in (200, 201), response.json
    return response.json


def change(person, price):
    return act(person, "plan-change", price_id=price, when="now")


def net_total(person):
    return sum(line[3] for line in person.lines())


def test_premium_by_day_and_basic_by_night_costs_premium(world, prices):
    """From 10 to 19 April premium is used every day: ten days of it, and twenty of basic, are 1000 + 667."""
    ann, bob = world.person(), world.person()
    ann.subscribe(prices["basic"])
    bob.subscribe(prices["basic"])
    for day in range(10, 20):
        world.go_to(f"2026-04-{day}T08:00:00")
        assert change(ann, prices["premium"])["price"]["id"] == prices["premium"]
        world.go_to(f"2026-04-{day}T23:30:00")
        assert change(ann, prices["basic"])["price"]["id"] == prices["basic"]
    world.go_to("2026-04-30T12:00:00")
    assert abs(net_total(ann) - 1667) <= 10  # a rounding a day
    assert bob.lines() == [("charge", "2026-04-01", "2026-05-01", 1000)]


def test_a_way_down_over_a_plan_in_between_gives_nothing_back_of_today(world, prices):
    ann, bob = world.person(), world.person()
    for person, steps in ((ann, ("basic", "standard")), (bob, ("standard",))):
        person.subscribe(prices["premium"])
        for step in steps:
            change(person, prices[step])
        assert ("credit", "2026-04-02", "2026-05-01", -2900) in person.lines()
        assert person.subscription()["price"]["id"] == prices["standard"]
    assert net_total(ann) == net_total(bob) == 3000 - 2900 + 1933


def test_coming_back_on_the_same_day_costs_nothing(world, prices):
    ann = world.person()
    ann.subscribe(prices["premium"])
    for _ in range(3):
        change(ann, prices["basic"])
        change(ann, prices["premium"])
    assert (net_total(ann), world.charges(), ann.balances()) == (3000, [3000], [])


def test_an_upgrade_charges_the_day_of_the_change_at_the_new_price(world, prices):
    ann = world.person()
    ann.subscribe(prices["basic"])
    world.go_to("2026-04-16T22:00:00")
    change(ann, prices["premium"])
    assert ann.lines()[1:] == [
        ("credit", "2026-04-16", "2026-05-01", -500),
        ("charge", "2026-04-16", "2026-05-01", 1500),
    ]


def test_a_cheaper_year_begins_tomorrow_and_is_billed_today(world, prices):
    ann = world.person()
    ann.subscribe(prices["premium"])
    world.go_to("2026-04-16T22:00:00")
    preview = {"subscription_id": ann.subscription()["id"], "price_id": prices["yearly"], "when": "now"}
    expected = ann.post("/v1/invoice-previews", preview).json
    changed = change(ann, prices["yearly"])
    assert (changed["price"]["id"], changed["period"]) == (
        prices["yearly"],
        {"start": "2026-04-17", "end": "2027-04-17"},
    )
    assert ann.lines()[1:] == [
        ("credit", "2026-04-17", "2026-05-01", -1400),
        ("charge", "2026-04-17", "2027-04-17", 10_000),
    ]
    assert (expected["total_minor"], expected["next_renewal"]["date"]) == (8600, "2027-04-17")
    assert world.charges() == [3000, 8600]
    world.go_to("2027-04-17T12:00:00")
    assert ann.lines()[-1] == ("charge", "2027-04-17", "2028-04-17", 10_000)


def test_a_cheaper_year_that_is_declined_leaves_the_month(world, prices):
    ann = world.person()
    ann.subscribe(prices["premium"])
    world.next_charge("decline")
    body = {"price_id": prices["yearly"], "when": "now"}
    response = ann.post(f"/v1/subscriptions/{ann.subscription()['id']}/plan-change", body)
    assert response.json["code"] == "payment_failed"
    assert (ann.subscription()["price"]["id"], ann.subscription()["period"]["end"]) == (prices["premium"], "2026-05-01")
    world.go_to("2026-05-01T12:00:00")
    assert world.charges() == [3000, 3000]


def test_a_downgrade_on_the_last_paid_day_begins_with_the_next_period(world, prices):
    ann = world.person()
    ann.subscribe(prices["premium"])
    world.go_to("2026-04-30T12:00:00")
    assert change(ann, prices["basic"])["price"]["id"] == prices["basic"]
    world.go_to("2026-05-01T12:00:00")
    assert ann.lines() == [("charge", "2026-04-01", "2026-05-01", 3000), ("charge", "2026-05-01", "2026-06-01", 1000)]


def test_an_addon_taken_and_removed_on_each_day_costs_each_day(world, prices):
    ann = world.person()
    ann.subscribe(prices["basic"])
    for day in range(10, 15):
        world.go_to(f"2026-04-{day}T08:00:00")
        act(ann, "addons", price_id=prices["sports"])
        world.go_to(f"2026-04-{day}T23:30:00")
        assert ann.delete(f"/v1/subscriptions/{ann.subscription()['id']}/addons/sports").status_code == 200
    assert net_total(ann) == 1000 + 5 * 20


def test_an_addon_removed_on_the_day_of_another_interval_costs_that_day(world, prices):
    ann = world.person()
    ann.subscribe(prices["basic"])
    act(ann, "addons", price_id=prices["sports"])
    ann.delete(f"/v1/subscriptions/{ann.subscription()['id']}/addons/sports")
    change(ann, world.plan("d", 20_000, interval="year"))
    assert net_total(ann) == 20 + 20_000


def test_a_cancellation_dated_today_does_not_give_today_back(world, prices):
    ann = world.person()
    ann.subscribe(prices["premium"])
    assert act(ann, "cancellation", when="now", effective_date="2026-04-01")["status"] == "canceled"
    assert ann.lines()[-1] == ("credit", "2026-04-02", "2026-05-01", -2900)
    for day in (2, 3):  # a subscription a day, paid from what the last one left
        world.go_to(f"2026-04-0{day}T08:00:00")
        assert ann.subscribe(prices["premium"]).status_code == 201
        act(ann, "cancellation", when="now", effective_date=f"2026-04-0{day}")
    assert net_total(ann) >= 3 * 96
