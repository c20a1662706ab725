"""What greedy customers found where two rules meet: bundles, coupons, pauses, add-on trials, starts beside debts."""

import pytest

from tests.worlds.billing_world import FEATURES, World


@pytest.fixture
def world(app):
    world = World(app)
    world.go_to("2026-04-01T12:00:00")
    yield world
    assert world.differences() == []


@pytest.fixture
def basic(world):
    return world.plan("basic", 3000)


def put_addon(world, amount=300, **terms):
    price = {"currency": "USD", "amount_minor": amount, "tax": "exclusive", **terms}
    body = {"name": "Sports", "addon": True, "addon_features": {"max_streams": 1}, "features": FEATURES}
    return world.operator.put("/v1/admin/plans/sports", body | {"prices": [price]}).json["prices"][0]["id"]


def path(person, step):
    return f"/v1/subscriptions/{person.subscription()['id']}/{step}"


def patch_addon(person, **body):
    return person.client.patch(path(person, "addons/sports"), json=body, headers=person.headers())


def change_now(person, price):
    response = person.post(path(person, "plan-change"), {"price_id": price, "when": "now"})
    assert response.status_code == 200, response.json


def test_units_used_today_are_not_given_back_through_a_bundle(world, basic):
    sports = put_addon(world, 2000)
    price = {"currency": "USD", "amount_minor": 3001, "tax": "exclusive"}
    bundle = {"name": "Bundle", "includes": ["sports"], "features": FEATURES, "prices": [price]}
    bundle_price = world.operator.put("/v1/admin/plans/bundle", bundle).json["prices"][0]["id"]
    ann = world.person()
    ann.subscribe(basic)
    for day in (2, 3, 4):
        world.go_to(f"2026-04-0{day}T00:01:00")
        ann.post(path(ann, "addons"), {"price_id": sports, "quantity": 10})
        world.go_to(f"2026-04-0{day}T23:58:00")
        change_now(ann, bundle_price)
        change_now(ann, basic)
    kept_minor = sum(world.charges()) - sum(balance["amount_minor"] for balance in ann.balances())
    three_days_of_ten_units = 3 * 10 * 2000 // 30
    assert kept_minor >= 3000 + three_days_of_ten_units


def test_a_coupon_used_in_a_change_counts_as_redeemed(world, basic):
    coupon = {"percent_off": 100, "duration": "repeating", "periods": 1, "max_per_account": 1}
    world.operator.put("/v1/admin/coupons/free", coupon)
    larger = world.plan("larger", 3001)
    ann = world.person()
    ann.subscribe(basic)
    ann.post(path(ann, "coupons"), {"coupon": "free"})
    change_now(ann, larger)
    ann.delete(path(ann, "coupons/free"))
    ann.post(path(ann, "cancellation"), {"when": "period_end"})
    world.go_to("2026-05-02T12:00:00")
    ann.subscribe(basic)
    assert ann.post(path(ann, "coupons"), {"coupon": "free"}).json["code"] == "coupon_invalid"


def test_a_suspension_during_a_pause_is_not_credited_beside_the_frozen_days(world, basic):
    ann = world.person()
    ann.subscribe(basic)
    world.go_to("2026-05-01T12:00:00")
    ann.post(path(ann, "pause"))
    payment = ann.invoices()[0]["payments"][0]["id"]
    world.operator.post(f"/v1/sandbox/payments/{payment}/dispute", {"amount_minor": 60})
    world.go_to("2026-05-20T12:00:00")
    other = ann.add_card("pm_card_visa:other")
    ann.post(f"/v1/invoices/{ann.invoices()[0]['id']}/payments", {"payment_method_id": other})
    assert ann.delete(path(ann, "pause")).json["period"] == {"start": "2026-05-01", "end": "2026-06-19"}
    assert ann.balances() in ([], [{"currency": "USD", "amount_minor": 0}])


def test_an_addon_that_ends_in_a_pause_was_used_on_the_day_of_the_pause(world, basic):
    ann = world.person()
    ann.subscribe(basic)
    ann.post(path(ann, "addons"), {"price_id": put_addon(world), "ends_at": "2026-04-10"})
    patch_addon(ann, ends_at="2026-04-06")
    world.go_to("2026-04-05T22:00:00")
    ann.post(path(ann, "pause"))
    world.go_to("2026-04-12T12:00:00")
    assert ann.lines()[-1] == ("credit", "2026-04-06", "2026-04-10", -40)


def test_a_resumption_that_is_not_paid_for_keeps_an_addon_whose_trial_has_ended(world, basic):
    ann = world.person()
    ann.subscribe(basic)
    ann.post(path(ann, "addons"), {"price_id": put_addon(world, trial_days=2)})
    world.go_to("2026-04-02T12:00:00")
    ann.post(path(ann, "pause"))
    world.go_to("2026-04-04T12:00:00")
    card = ann.add_card("pm_card_chargeDeclined")
    ann.put(f"/v1/payment-methods/{card}/default")
    assert ann.delete(path(ann, "pause")).json["status"] == "active"
    assert ann.lines()[-1][0] == "trial"
    world.go_to("2026-04-05T12:00:00")
    assert ann.lines()[-1] == ("charge", "2026-04-05", "2026-05-01", 260)


def test_more_units_and_a_new_end_are_separate_requests(world, basic):
    ann = world.person()
    ann.subscribe(basic)
    ann.post(path(ann, "addons"), {"price_id": put_addon(world)})
    card = ann.add_card("pm_card_chargeDeclined")
    ann.put(f"/v1/payment-methods/{card}/default")
    response = patch_addon(ann, quantity=5, ends_at="2026-04-10")
    assert (response.status_code, list(response.json["errors"])) == (422, ["ends_at"])
    assert patch_addon(ann, quantity=5).status_code == 402
    assert [(addon["quantity"], addon["ends"]) for addon in ann.subscription()["addons"]] == [(1, None)]


def test_a_start_on_a_later_day_does_not_wait_for_other_debts(world):
    trial = world.plan("trial", 1000, trial_days=7)
    ann = world.person()
    assert ann.subscribe(trial, start_date="2026-04-10").status_code == 201
    card = ann.add_card("pm_card_chargeDeclined")
    ann.put(f"/v1/payment-methods/{card}/default")
    world.go_to("2026-04-09T12:00:00")
    charge = {"account_id": ann.id, "amount_minor": 700, "currency": "USD", "description": "Poster", "tax": "inclusive"}
    assert world.operator.post("/v1/admin/invoices", charge).json["status"] == "open"
    world.go_to("2026-04-10T12:00:00")
    assert ann.subscription()["status"] in ("trialing", "past_due")


def test_a_payment_that_is_disputed_again_and_again_gives_one_grace_period(world, basic):
    ann = world.person()
    ann.subscribe(basic)
    for day in (1, 6):
        world.go_to(f"2026-04-0{day}T13:00:00")
        payment = ann.invoices()[0]["payments"][-1]["id"]
        world.operator.post(f"/v1/sandbox/payments/{payment}/dispute")
        assert ann.subscription()["access_until"] == "2026-04-08T00:00:00Z"
        other = ann.add_card("pm_card_visa:other")
        ann.post(f"/v1/invoices/{ann.invoices()[0]['id']}/payments", {"payment_method_id": other})
        assert ann.subscription()["access_until"] is None


def test_the_quantity_of_an_addon_is_not_raised_in_its_trial(world, basic):
    ann = world.person()
    ann.subscribe(basic)
    ann.post(path(ann, "addons"), {"price_id": put_addon(world, trial_days=7)})
    response = patch_addon(ann, quantity=5)
    assert (response.status_code, response.json["code"]) == (409, "wrong_state")
    world.go_to("2026-04-08T13:00:00")
    assert patch_addon(ann, quantity=5).status_code == 200
