"""Extras of a subscription: combined coupons, add-ons, trials, transfers, price migrations, and referrals."""

from datetime import timedelta

import pytest

from tests.worlds.billing_world import World


@pytest.fixture
def world(app):
    """A world at noon of 1 April, a month of thirty days. Every test ends with an audit of the books."""
    world = World(app)
    world.go_to("2026-04-01T12:00:00")
    yield world
    assert world.differences() == []


def create_coupon(world, code, **terms):
    response = world.operator.put(f"/v1/admin/coupons/{code}", {"duration": "forever", **terms})
    assert response.status_code == 200, response.json
    return code


def amount_off(minor, **terms):
    return {"amount_off_minor": minor, "currency": "USD", **terms}


def post_step(person, what, body=None):
    return person.post(f"/v1/subscriptions/{person.subscription()['id']}/{what}", body)


def delete_step(person, what):
    return person.delete(f"/v1/subscriptions/{person.subscription()['id']}/{what}")


def discounts(person, which=-1):
    return [-line["amount_minor"] for line in person.invoices()[which]["lines"] if line["kind"] == "discount"]


def test_coupons_apply_in_the_order_in_which_they_were_given(world):
    """LG-025 and LG-026: 10 and 20 % of the rest; 15 % and 20 % of the rest; 10 and 20; one with nothing left."""
    create_coupon(world, "ten", **amount_off(10))
    create_coupon(world, "twenty", **amount_off(20))
    create_coupon(world, "fifth", percent_off=20)
    create_coupon(world, "fifteen", percent_off=15)
    hundred, five = world.plan("p", 100, 5)
    cases = {
        ("ten", "fifth"): ([10, 18], 72),
        ("fifth", "ten"): ([20, 10], 70),
        ("fifteen", "fifth"): ([15, 17], 68),
        ("ten", "twenty"): ([10, 20], 70),
    }
    for codes, (expected, total) in cases.items():
        ann = world.person()
        body = {"price_id": hundred, "coupons": list(codes)}
        preview = ann.post("/v1/invoice-previews", body).json
        assert ann.post("/v1/subscriptions", body).status_code == 201
        assert (discounts(ann), ann.invoices()[0]["total_minor"], preview["total_minor"]) == (expected, total, total)
    bob = world.person()
    bob.subscribe(five, coupon="ten", coupons=["fifth"])
    assert (discounts(bob), bob.invoices()[0]["total_minor"]) == ([5], 0)
    used = {discount["coupon"]: discount["periods_used"] for discount in bob.subscription()["discounts"]}
    assert used == {"ten": 1, "fifth": 0}
    body = {"amount_off_minor": 10, "currency": "NOK", "duration": "once"}
    world.operator.put("/v1/admin/coupons/krone", body)
    assert world.person().subscribe(five, coupons=["krone"]).json["code"] == "coupon_invalid"


def test_a_coupon_added_later_applies_from_the_next_invoice_until_it_is_removed(world):
    create_coupon(world, "half", percent_off=50)
    ann = world.person()
    ann.subscribe(world.plan("p", 1000))
    response = post_step(ann, "coupons", {"coupon": "half"})
    assert (response.status_code, response.json["discount"]["coupon"]) == (201, "half")
    assert post_step(ann, "coupons", {"coupon": "half"}).json["code"] == "coupon_invalid"
    world.go_to("2026-05-02")
    assert delete_step(ann, "coupons/half").json["discounts"] == []
    assert delete_step(ann, "coupons/half").status_code == 404
    world.go_to("2026-06-02")
    assert [invoice["total_minor"] for invoice in ann.invoices()] == [1000, 500, 1000]


def test_a_coupon_is_limited_to_its_plans_and_combinations(world):
    small, large = world.plan("small", 1000), world.plan("large", 2000)
    create_coupon(world, "large-only", percent_off=50, plans=["large"])
    create_coupon(world, "alone", percent_off=10, combines=False)
    create_coupon(world, "ten", percent_off=10)
    ann = world.person()
    assert ann.subscribe(small, coupon="large-only").json["code"] == "coupon_invalid"
    assert ann.subscribe(small, coupons=["alone", "ten"]).json["code"] == "coupon_invalid"
    assert ann.subscribe(large, coupons=["large-only"], addons=[small]).status_code == 201
    assert [line["discount_minor"] for line in ann.invoices()[0]["lines"][:2]] == [1000, 0]
    delete_step(ann, "addons/small?when=period_end")
    post_step(ann, "plan-change", {"price_id": small, "when": "period_end"})
    world.go_to("2026-05-02")
    assert (ann.invoices()[-1]["total_minor"], discounts(ann)) == (1000, [])
    unknown = {"percent_off": 1, "duration": "once", "plans": ["nowhere"]}
    assert world.operator.put("/v1/admin/coupons/lost", unknown).status_code == 422


def test_coupons_for_new_and_for_returning_customers(world):
    price = world.plan("p", 1000)
    create_coupon(world, "hello", percent_off=50, audience="new", max_per_account=1)
    create_coupon(world, "back", percent_off=30, audience="returning")
    ann = world.person(card="pm_card_chargeDeclined")
    assert ann.subscribe(price, coupon="back").json["code"] == "coupon_invalid"
    assert ann.subscribe(price, coupon="hello").json["code"] == "payment_failed"
    ann.put(f"/v1/payment-methods/{ann.add_card()}/default")
    assert ann.subscribe(price, coupon="hello").status_code == 201
    post_step(ann, "cancellation", {"when": "now", "credit": "none"})
    assert ann.subscribe(price, coupon="hello").json["code"] == "coupon_invalid"
    assert ann.subscribe(price, coupon="back").status_code == 201
    assert post_step(ann, "coupons", {"coupon": "hello"}).json["code"] == "coupon_invalid"


def test_an_addon_is_prorated_when_added_and_when_removed(world):
    """600 a month: 300 from the 16th; removed on the 20th, ten of the fifteen days are credited: 200."""
    base, extra = world.plan("base", 3000), world.plan("extra", 600)
    ann = world.person()
    ann.subscribe(base)
    world.go_to("2026-04-16T12:00:00")
    body = {"subscription_id": ann.subscription()["id"], "add_addon": extra}
    assert ann.post("/v1/invoice-previews", body).json["total_minor"] == 300
    added = post_step(ann, "addons", {"price_id": extra})
    assert (added.status_code, [addon["plan"] for addon in added.json["addons"]]) == (201, ["extra"])
    assert post_step(ann, "addons", {"price_id": extra}).status_code == 422
    assert (
        post_step(ann, "plan-change", {"price_id": world.plan("y", 9, interval="year"), "when": "now"}).status_code
        == 422
    )
    world.go_to("2026-04-20T12:00:00")
    body = {"subscription_id": ann.subscription()["id"], "remove_addon": "extra"}
    assert ann.post("/v1/invoice-previews", body).json["total_minor"] == -200
    assert delete_step(ann, "addons/extra").json["addons"][0]["ends"] == "2026-04-21"
    assert delete_step(ann, "addons/extra").status_code == 404
    assert post_step(ann, "addons", {"price_id": extra}).status_code == 201  # from the 21st: today is already paid for
    delete_step(ann, "addons/extra?when=period_end")
    world.go_to("2026-05-02")
    assert [line for line in ann.lines() if line[3] not in (3000,)] == [
        ("charge", "2026-04-16", "2026-05-01", 300),
        ("credit", "2026-04-21", "2026-05-01", -200),
        ("charge", "2026-04-21", "2026-05-01", 200),
    ]
    assert (ann.subscription()["addons"], world.charges()) == ([], [3000, 300, 3000])


def test_an_addon_is_not_added_if_its_payment_is_declined(world):
    base, extra = world.plan("base", 3000), world.plan("extra", 600)
    ann = world.person()
    ann.subscribe(base)
    world.next_charge("decline")
    assert post_step(ann, "addons", {"price_id": extra}).json["code"] == "payment_failed"
    assert ann.subscription()["addons"] == []
    assert post_step(ann, "addons", {"price_id": extra}).status_code == 201


def test_each_device_gets_one_trial_regardless_of_the_account(world):
    price = world.plan("p", 1000, trial_days=14)
    ann, bob, cat = world.person(), world.person(), world.person()
    assert ann.subscribe(price, device_fingerprint="tv-1").json["status"] == "trialing"
    assert bob.subscribe(price, device_fingerprint="tv-1").json["status"] == "active"
    assert cat.subscribe(price, device_fingerprint="tv-2").json["status"] == "trialing"


def test_a_transferred_subscription_keeps_its_paid_days_and_bills_the_new_owner(world):
    small, large = world.plan("p", 3000, 6000)
    ann, bob = world.person(), world.person()
    ann.subscribe(small)
    path = f"/v1/admin/subscriptions/{ann.subscription()['id']}/transfer"
    world.go_to("2026-04-11T12:00:00")
    response = world.operator.post(path, {"account_id": bob.id})
    assert (response.status_code, response.json["status"]) == (200, "active")
    event = world.operator.get("/v1/admin/events?limit=1").json["items"][0]
    assert (event["kind"], event["account_id"]) == ("subscription.changed", bob.id)
    assert ann.get("/v1/subscriptions").json["items"] == []
    assert [len(ann.invoices()), len(bob.invoices())] == [1, 0]
    world.go_to("2026-04-16T12:00:00")
    post_step(bob, "plan-change", {"price_id": large})
    world.go_to("2026-05-02")
    assert bob.lines() == [
        ("credit", "2026-04-16", "2026-05-01", -1500),
        ("charge", "2026-04-16", "2026-05-01", 3000),
        ("charge", "2026-05-01", "2026-06-01", 6000),
    ]
    assert world.operator.post(path, {"account_id": bob.id}).status_code == 422
    ann.subscribe(small)
    assert world.operator.post(path, {"account_id": ann.id}).json["code"] == "already_subscribed"
    rows = world.operator.get("/v1/admin/reports/revenue?from=2026-04-01&to=2026-06-01").json["mrr"]
    assert [row["closing_minor"] for row in rows] == [6000, 9000]


def test_a_past_due_subscription_cannot_be_transferred_and_a_transfer_grants_no_new_trial(world):
    price = world.plan("p", 1000, trial_days=14)
    ann, bob, cat = world.person(), world.person(), world.person()
    ann.subscribe(price)
    path = f"/v1/admin/subscriptions/{ann.subscription()['id']}/transfer"
    assert world.operator.post(path, {"account_id": bob.id}).status_code == 200
    assert ann.subscribe(price).json["status"] == "active"
    world.next_charge("decline")
    world.go_to("2026-04-15T12:00:00")
    assert world.operator.post(path, {"account_id": cat.id}).json["code"] == "wrong_state"


def test_an_ended_subscription_cannot_be_transferred(world):
    ann, bob = world.person(), world.person()
    ann.subscribe(world.plan("p", 1000))
    path = f"/v1/admin/subscriptions/{ann.subscription()['id']}/transfer"
    post_step(ann, "cancellation", {"when": "now"})
    assert world.operator.post(path, {"account_id": bob.id}).json["code"] == "wrong_state"


@pytest.fixture
def price_migration(world):
    """Two subscribers at the old price, with a scheduled and declinable new price from May on."""
    old, new = world.plan("p", 1000, 1500)
    people = [world.person(), world.person(country="CA")]
    for person in people:
        person.subscribe(old)
    body = {"from_price_id": old, "to_price_id": new, "effective": "2026-04-20", "can_decline": True}
    return old, new, people, world.operator.post("/v1/admin/price-migrations", body).json


def test_withdrawing_a_price_migration_affects_all_who_have_not_renewed(world, price_migration):
    _, new, (ann, _), migration = price_migration
    assert migration["subscriptions"] == 2
    change = {"price_id": new, "effective": "2026-05-01"}
    assert [ann.subscription()[name] for name in ("pending_change", "declinable_change")] == [change, change]
    path = f"/v1/admin/price-migrations/{migration['id']}"
    assert world.operator.delete(path).json["withdrawn_at"] == "2026-04-01T12:00:00Z"
    assert world.operator.delete(path).status_code == 409
    assert [listed["id"] for listed in world.operator.get("/v1/admin/price-migrations").json["items"]] == [
        migration["id"]
    ]
    assert ann.subscription()["pending_change"] is None
    world.go_to("2026-05-02")
    assert world.charges() == [1000] * 4


def test_declining_a_price_migration_keeps_the_old_price(world, price_migration):
    _, _, (ann, bob), _ = price_migration
    assert delete_step(ann, "price-migration").json["pending_change"] is None
    assert delete_step(ann, "price-migration").json["code"] == "wrong_state"
    world.go_to("2026-05-02")
    assert (ann.invoices()[-1]["total_minor"], bob.invoices()[-1]["total_minor"]) == (1000, 1500)


def test_a_price_migration_is_limited_to_its_cohort(world):
    old, new = world.plan("p", 1000, 1500)
    ann, bob = world.person(), world.person(country="CA")
    for person in (ann, bob):
        person.subscribe(old)
    world.go_to("2026-04-03T12:00:00")
    cat = world.person()
    cat.subscribe(old)
    body = {"from_price_id": old, "to_price_id": new, "effective": "2026-04-20"}
    cohort = {"started_before": "2026-04-03", "country": "US"}
    assert world.operator.post("/v1/admin/price-migrations", body | cohort).json["subscriptions"] == 1
    assert [person.subscription()["pending_change"] is None for person in (ann, bob, cat)] == [False, True, True]
    assert delete_step(ann, "price-migration").json["code"] == "wrong_state"


def test_referrer_and_referred_account_are_credited_once_the_latter_has_paid(world):
    reward = {"referrer_minor": 500, "newcomer_minor": 200}
    assert world.operator.put("/v1/admin/referral-rewards/USD", reward).status_code == 200
    price = world.plan("p", 1000, trial_days=14)
    ann, bob = world.person(), world.person()
    code = ann.put("/v1/account/referral").json["code"]
    assert ann.put("/v1/account/referral").json["code"] == code
    assert ann.subscribe(price, referral_code=code).json["code"] == "referral_code_invalid"
    assert bob.subscribe(price, referral_code=code.lower()).status_code == 201
    world.go_to("2026-04-14T12:00:00")
    assert ann.put("/v1/account/referral").json == {"code": code, "referred": 1, "rewarded": 0}
    assert bob.put("/v1/account/referral").json["referred"] == 0
    world.go_to("2026-05-16T12:00:00")
    assert ann.put("/v1/account/referral").json["rewarded"] == 1
    assert ann.get("/v1/account/balance").json["balances"] == [{"currency": "USD", "amount_minor": 500}]
    assert [invoice["amount_due_minor"] for invoice in bob.invoices()] == [0, 1000, 800]
    assert bob.subscribe(price, referral_code=code).status_code == 409


def test_a_referral_whose_first_payment_failed_is_replaced_by_the_next_one(world):
    reward = {"referrer_minor": 500, "newcomer_minor": 200}
    assert world.operator.put("/v1/admin/referral-rewards/USD", reward).status_code == 200
    price = world.plan("p", 1000)
    ann, eva, bob = world.person(), world.person(), world.person(card="pm_card_chargeDeclined")
    codes = [person.put("/v1/account/referral").json["code"] for person in (ann, eva)]
    assert bob.subscribe(price, referral_code=codes[0]).status_code == 402
    bob.put(f"/v1/payment-methods/{bob.add_card()}/default")
    assert bob.subscribe(price, referral_code=codes[1]).status_code == 201
    world.go_to(world.clock.at)
    counts = [person.put("/v1/account/referral").json["referred"] for person in (ann, eva)]
    assert (counts, ann.balances(), eva.balances()) == ([0, 1], [], [{"currency": "USD", "amount_minor": 500}])


@pytest.fixture
def referred(world):
    """Return ann, who referred bob, and bob, who has just paid; both were rewarded."""
    for currency in ("USD", "EUR"):
        reward = {"referrer_minor": 500, "newcomer_minor": 200}
        assert world.operator.put(f"/v1/admin/referral-rewards/{currency}", reward).status_code == 200
    world.prices = world.plan("p", 1000), world.plan("q", 2000, currency="EUR")
    ann, bob = world.person(), world.person()
    ann.subscribe(world.prices[1])
    bob.subscribe(world.prices[0], referral_code=ann.put("/v1/account/referral").json["code"])
    world.go_to(world.clock.at)
    return ann, bob


def test_each_is_rewarded_in_their_own_currency(referred):
    ann, bob = referred
    assert ann.balances() == [{"currency": "EUR", "amount_minor": 500}]
    assert bob.balances() == [{"currency": "USD", "amount_minor": 200}]


@pytest.mark.parametrize("what", ["refunds", "dispute"])
def test_a_referral_reward_is_taken_back_with_the_payment_that_earned_it(world, referred, what):
    ann, bob = referred
    [invoice] = bob.invoices()
    if what == "refunds":
        world.operator.post(f"/v1/admin/invoices/{invoice['id']}/refunds", {"amount_minor": 400})
        world.go_to(world.clock.at)
        assert ann.balances() == [{"currency": "EUR", "amount_minor": 300}]
        assert bob.balances() == [{"currency": "USD", "amount_minor": 120}]
        world.operator.post(f"/v1/admin/invoices/{invoice['id']}/refunds", {"amount_minor": 599})
        world.go_to(world.clock.at)
        assert (ann.balances(), bob.balances()) == ([], []), "one cent earns nothing"
        assert ann.put("/v1/account/referral").json["rewarded"] == 1
        world.operator.post(f"/v1/admin/invoices/{invoice['id']}/refunds", {"amount_minor": 1})
    else:
        world.operator.post(f"/v1/sandbox/payments/{invoice['payments'][0]['id']}/dispute")
    world.go_to(world.clock.at)
    assert (ann.balances(), bob.balances()) == ([], [])
    assert ann.put("/v1/account/referral").json["referred"] == 1


def test_a_reward_stands_while_as_much_as_the_first_payment_is_kept(world):
    reward = {"referrer_minor": 500, "newcomer_minor": 200}
    assert world.operator.put("/v1/admin/referral-rewards/USD", reward).status_code == 200
    price, ann, bob = world.plan("p", 1000), world.person(), world.person()
    bob.subscribe(price, referral_code=ann.put("/v1/account/referral").json["code"])
    world.go_to(world.clock.at + timedelta(days=32))
    first, second = sorted(bob.invoices(), key=lambda invoice: invoice["issued_at"])
    assert second["amount_due_minor"] == 800, "the reward paid for the rest"

    def balance_after_refund(invoice, amount_minor):
        refund = world.operator.post(f"/v1/admin/invoices/{invoice['id']}/refunds", {"amount_minor": amount_minor})
        assert refund.status_code == 201, refund.json
        world.go_to(world.clock.at)
        return sum(balance["amount_minor"] for balance in ann.balances())

    assert balance_after_refund(first, 800) == 500, "1,000 of 1,800 are kept"
    assert balance_after_refund(second, 500) == 250
    assert balance_after_refund(second, 100) == 200
    assert ann.put("/v1/account/referral").json["rewarded"] == 1


def test_a_gift_that_the_referred_account_buys_for_the_referrer_earns_no_reward(world):
    """Its money would come back to the referrer as credit, and the rewards on top of it."""
    reward = {"referrer_minor": 500, "newcomer_minor": 500}
    assert world.operator.put("/v1/admin/referral-rewards/USD", reward).status_code == 200
    price, ann, bob = world.plan("p", 1000, trial_days=14), world.person(), world.person()
    bob.subscribe(price, referral_code=ann.put("/v1/account/referral").json["code"])
    gift = bob.post("/v1/gift-purchases", {"currency": "USD", "amount_minor": 500}).json
    assert ann.post("/v1/gift-redemptions", {"code": gift["code"]}).status_code == 201
    world.go_to(world.clock.at)
    assert (ann.balances(), bob.balances()) == ([{"currency": "USD", "amount_minor": 500}], [])
    world.go_to("2026-05-16T12:00:00")  # the trial is over and paid for
    assert [invoice["amount_due_minor"] for invoice in bob.invoices()] == [0, 500, 1000, 500]
    assert ann.balances() == [{"currency": "USD", "amount_minor": 1000}]


def test_a_reward_is_taken_back_when_what_earned_it_is_paid_out_by_bank_transfer(world, referred):
    ann, bob = referred
    path = f"/v1/admin/invoices/{bob.invoices()[0]['id']}/credit-notes"
    assert world.operator.post(path, {"amount_minor": 1000}).status_code == 201
    body = {"currency": "USD", "reason": "never could watch", "method": "bank_transfer", "reference": "RF18"}
    payout = world.operator.post(f"/v1/admin/accounts/{bob.id}/payouts", body)
    assert (payout.status_code, payout.json["amount_minor"]) == (201, 1000), payout.json
    world.go_to(world.clock.at)
    assert (ann.balances(), bob.balances()) == ([], [])


def test_a_reward_stays_if_the_bank_transfer_of_what_earned_it_fails(world, referred):
    """While one to another account succeeds."""
    ann, bob = referred
    cat = world.person()
    cat.subscribe(world.plan("q", 1000))
    for person, status in ((cat, "paid"), (bob, "failed")):
        path = f"/v1/admin/invoices/{person.invoices()[0]['id']}/credit-notes"
        assert world.operator.post(path, {"amount_minor": 1000}).status_code == 201
        body = {"currency": "USD", "reason": "moved", "method": "bank_transfer"}
        payout = world.operator.post(f"/v1/admin/accounts/{person.id}/payouts", body).json
        completed = world.operator.patch(f"/v1/admin/payouts/{payout['id']}", {"status": status, "reference": "RF18"})
        assert completed.json["status"] == status
    world.go_to(world.clock.at)
    assert [balance["amount_minor"] for balance in ann.balances()] == [500]


def test_a_household_cannot_refer_itself(world):
    """A second account with the same card, even a removed one, or with the same device is the same household."""
    price = world.plan("p", 1000)
    ann = world.person(card="pm_card_visa:family")
    code = ann.put("/v1/account/referral").json["code"]
    ann.subscribe(price, device_fingerprint="the television")
    same_card, same_device, neighbour = world.person(card="pm_card_visa:family"), world.person(), world.person()
    [card] = same_card.get("/v1/payment-methods").json["items"]
    same_card.delete(f"/v1/payment-methods/{card['id']}")
    same_card.add_card()
    assert same_card.subscribe(price, referral_code=code).json["code"] == "referral_code_invalid"
    device = {"device_fingerprint": "the television"}
    assert same_device.subscribe(price, referral_code=code, **device).json["code"] == "referral_code_invalid"
    other_device = {"device_fingerprint": "another television"}
    assert neighbour.subscribe(price, referral_code=code, **other_device).status_code == 201
