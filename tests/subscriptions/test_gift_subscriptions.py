"""Gift subscriptions: a plan for a number of periods, redeemed once, without a card and without a charge."""

import threading

import pytest

from tests.worlds.billing_world import World


@pytest.fixture
def world(app):
    return World(app)


@pytest.fixture
def price(world):
    return world.plan("premium", 1000)


def gift_code(world, price, periods=3, **more):
    response = world.operator.post("/v1/admin/gift-codes", {"price_id": price, "periods": periods, **more})
    assert response.status_code == 201, response.json
    return response.json["code"]


def redeem(person, code):
    return person.post("/v1/gift-redemptions", {"code": code})


def subscription_path(person):
    return f"/v1/subscriptions/{person.subscription()['id']}"


def test_a_gift_starts_a_subscription_without_a_card_that_ends_without_a_charge(world, price):
    ann, bob = world.person(card=None), world.person(card=None)
    gift = redeem(ann, gift_code(world, price)).json
    subscription = ann.subscription()
    assert (gift["subscription_id"], gift["periods"]) == (subscription["id"], 3)
    assert (subscription["status"], subscription["cancel_at"]) == ("active", "2026-04-15")
    assert subscription["period"] == {"start": "2026-01-15", "end": "2026-04-15"}
    world.go_to("2026-04-14")
    assert ann.subscription()["status"] == "active"
    world.go_to("2026-04-16")
    assert ann.subscription()["status"] == "canceled"
    assert (world.charges(), ann.invoices(), ann.balances(), world.differences()) == ([], [], [], [])
    assert bob.get("/v1/subscriptions").json["items"] == []


def test_a_gift_code_is_redeemed_once(world, price):
    code = gift_code(world, price)
    ann, bob = world.person(card=None), world.person(card=None)
    assert redeem(ann, code).status_code == 201
    for person in (ann, bob):
        assert redeem(person, code).json["code"] == "gift_code_invalid"
    assert ann.subscription()["cancel_at"] == "2026-04-15"
    assert bob.get("/v1/subscriptions").json["items"] == []


def test_of_many_who_redeem_a_gift_at_once_one_gets_it(world, price):
    code, people, statuses = gift_code(world, price), [world.person(card=None) for _ in range(4)], []
    for person in people:
        person.headers()
    threads = [threading.Thread(target=lambda p=p: statuses.append(redeem(p, code).status_code)) for p in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [201, 422, 422, 422]
    assert sum(len(person.get("/v1/subscriptions").json["items"]) for person in people) == 1


def test_a_gift_goes_on_at_its_price_once_its_owner_adds_a_card_and_wants_it(world, price):
    ann = world.person(card=None)
    redeem(ann, gift_code(world, price))
    refused = ann.delete(f"{subscription_path(ann)}/cancellation")
    assert (refused.status_code, refused.json["code"]) == (402, "payment_method_required")
    ann.add_card()
    assert ann.delete(f"{subscription_path(ann)}/cancellation").json["cancel_at"] is None
    world.go_to("2026-04-14")
    assert world.charges() == []
    world.go_to("2026-04-16")
    assert (ann.subscription()["status"], world.charges()) == ("active", [1000])
    assert ann.lines() == [("charge", "2026-04-15", "2026-05-15", 1000)]
    assert world.differences() == []


def test_a_gift_keeps_the_price_that_it_was_given_at(world, price):
    code = gift_code(world, price)
    world.plan("premium", 1500)
    ann = world.person()
    assert redeem(ann, code).status_code == 201
    ann.delete(f"{subscription_path(ann)}/cancellation")
    world.go_to("2026-04-16")
    assert world.charges() == [1000]


def test_a_gift_of_the_same_price_extends_the_paid_time(world, price):
    ann = world.person()
    ann.subscribe(price)
    redeem(ann, gift_code(world, price, 2))
    assert ann.subscription()["period"]["end"] == "2026-04-15"
    world.go_to("2026-04-14")
    assert world.charges() == [1000]
    world.go_to("2026-04-16")
    assert (world.charges(), ann.balances(), world.differences()) == ([1000, 1000], [], [])


@pytest.mark.parametrize("why", ["trial", "billing hold", "change that waits for its payment"])
def test_a_gift_of_the_same_price_becomes_credit_while_the_subscription_cannot_be_extended(world, price, why):
    ann = world.person()
    given = world.plan("tried", 1000, trial_days=7) if why == "trial" else price
    assert ann.subscribe(given).status_code == 201
    before = ann.subscription()["period"]
    if why == "billing hold":
        path = f"/v1/admin{subscription_path(ann)[3:]}/parking"
        assert world.operator.put(path, {"reason": "looks odd"}).status_code == 200
    elif why != "trial":
        ann.put(f"/v1/payment-methods/{ann.add_card('pm_card_authenticationRequired')}/default")
        body = {"price_id": world.plan("dear", 5000), "when": "now"}
        assert ann.post(f"{subscription_path(ann)}/plan-change", body).status_code == 402
    assert redeem(ann, gift_code(world, given, 2)).status_code in (200, 201)
    assert (ann.subscription()["period"], ann.balances()) == (before, [{"currency": "USD", "amount_minor": 2000}])


def test_two_gifts_last_as_long_as_both_and_keep_the_last_day_of_the_month(world, price):
    world.go_to("2026-01-31")
    ann = world.person(card=None)
    redeem(ann, gift_code(world, price, 1))
    assert ann.subscription()["cancel_at"] == "2026-02-28"
    redeem(ann, gift_code(world, price, 1))
    assert ann.subscription()["cancel_at"] == "2026-03-31"


def test_a_gift_of_another_price_becomes_credit_of_its_value(world, price):
    basic = world.plan("basic", 500)
    ann = world.person()
    ann.subscribe(basic)
    gift = redeem(ann, gift_code(world, price)).json
    assert (gift["subscription_id"], ann.balances()) == (None, [{"currency": "USD", "amount_minor": 3000}])
    assert ann.subscription()["period"]["end"] == "2026-02-15"
    assert world.differences() == []


def test_a_gift_does_not_pay_for_add_ons(world, price):
    sport, ann = world.plan("sport", 400), world.person()
    ann.subscribe(price, addons=[sport])
    redeem(ann, gift_code(world, price, 1))
    assert ann.balances() == [{"currency": "USD", "amount_minor": 1000}]


def test_gifted_days_are_neither_exchanged_for_a_dearer_plan_nor_paid_out(world, price):
    basic, ann = world.plan("basic", 500), world.person()
    redeem(ann, gift_code(world, basic, 12))
    path = subscription_path(ann)
    refused = ann.post(f"{path}/plan-change", {"price_id": price, "when": "now"})
    assert (refused.status_code, refused.json["code"]) == (409, "wrong_state")
    assert ann.post(f"{path}/plan-change", {"price_id": price, "when": "period_end"}).status_code == 200
    assert ann.post(f"{path}/cancellation", {"when": "now"}).status_code == 200
    assert (ann.balances(), world.charges(), ann.subscription()["price"]["id"]) == ([], [], basic)


def test_a_plan_can_change_at_once_again_when_the_gift_is_over(world, price):
    basic, ann = world.plan("basic", 500), world.person()
    redeem(ann, gift_code(world, basic, 1))
    ann.delete(f"{subscription_path(ann)}/cancellation")
    world.go_to("2026-02-16")
    changed = ann.post(f"{subscription_path(ann)}/plan-change", {"price_id": price, "when": "now"})
    assert (changed.status_code, changed.json["price"]["id"]) == (200, price)


def test_a_gift_in_another_currency_or_for_another_country_is_refused_and_stays_usable(world, price):
    euros = world.plan("euros", 900, currency="EUR", countries=["DE"])
    code = gift_code(world, euros)
    ann, bob, eva = world.person(), world.person(), world.person(country="DE", card=None)
    ann.subscribe(price)
    assert redeem(ann, code).json["code"] == "gift_code_currency_mismatch"
    assert redeem(bob, code).json["code"] == "gift_not_sold_here"
    assert bob.get("/v1/subscriptions").json["items"] == []
    assert redeem(eva, code).status_code == 201


def test_a_gift_subscription_cannot_be_put_into_another_subscription(world, price):
    code, ann = gift_code(world, price), world.person()
    assert ann.subscribe(price, gift_code=code).json["code"] == "gift_code_invalid"
    assert redeem(ann, code).status_code == 201


def test_an_expired_gift_is_refused(world, price):
    code, ann = gift_code(world, price, expires_at="2026-02-01T00:00:00Z"), world.person()
    world.go_to("2026-02-02")
    assert redeem(ann, code).json["code"] == "gift_code_invalid"


def test_a_gift_is_either_of_an_amount_or_of_periods_of_a_price_on_sale(world, price):
    def post(**body):
        return world.operator.post("/v1/admin/gift-codes", body).status_code

    assert post(price_id=price) == post(periods=3) == post(currency="USD") == post() == 422
    assert post(price_id=price, periods=3, amount_minor=5, currency="USD") == post(price_id="pri_x", periods=1) == 422
    assert post(price_id=price, periods=37) == post(price_id=price, periods=0) == 422
    world.plan("premium", 1500)
    assert post(price_id=price, periods=1) == 422


def test_gifted_time_is_not_recurring_revenue_until_it_is_paid_for(world, price):
    ann = world.person()
    redeem(ann, gift_code(world, price, 1))
    ann.delete(f"{subscription_path(ann)}/cancellation")

    def recurring_revenue():
        report = world.operator.get("/v1/admin/reports/revenue?from=2026-01-01&to=2026-03-01").json
        return [row["closing_minor"] for row in report["mrr"]]

    world.go_to("2026-02-10")
    assert sum(recurring_revenue()) == 0
    world.go_to("2026-02-16")
    assert recurring_revenue()[-1] == 1000
