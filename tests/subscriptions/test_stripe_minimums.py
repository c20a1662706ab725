"""Amounts outside Stripe's limits: too small ones are charged with the next payment, too large ones are refused."""

import pytest

from tests.worlds.billing_world import World
from tests.worlds.stripe_events import deliver_event, event, last_intent, tick


@pytest.fixture
def world(app, stripe):
    world = World(app)
    yield world
    assert world.differences() == []


def invoice_states(person):
    names = ("status", "balance_minor", "carried_over", "next_attempt_on")
    return [tuple(invoice[name] for name in names) for invoice in person.invoices()]


def charge_once(world, person, amount, currency="USD"):
    body = {"account_id": person.id, "amount_minor": amount, "currency": currency, "description": "A repair"}
    return world.operator.post("/v1/admin/invoices", body | {"tax": "inclusive"})


OPEN_30, PAID = ("open", 30, True, None), ("paid", 0, False, None)


def first_invoice_of_30_cents(world, price=1000):
    """Return a person who subscribed with a coupon that left 30 cents of the first invoice."""
    body = {"amount_off_minor": price - 30, "currency": "USD", "duration": "once"}
    world.operator.put("/v1/admin/coupons/NEARLY", body)
    person = world.person()
    assert person.subscribe(world.plan("p", price), coupon="NEARLY").json["status"] == "active"
    return person


def test_a_first_invoice_too_small_to_charge_is_charged_with_the_renewal(world, stripe):
    ann, bob = first_invoice_of_30_cents(world), world.person()
    bob.subscribe(world.plan("q", 500))
    [invoice] = ann.invoices()
    assert (invoice_states(ann), invoice["payments"], invoice["number"] is None) == ([OPEN_30], [], False)
    assert stripe.charged_amounts() == [500]
    world.go_to("2026-02-16")
    assert (invoice_states(ann), invoice_states(bob)) == ([PAID, PAID], [PAID, PAID])
    assert (sorted(stripe.charged_amounts()), ann.balances()) == ([500, 500, 1030], [])
    world.go_to("2026-03-16")
    assert sorted(stripe.charged_amounts()) == [500, 500, 500, 1000, 1030]


def test_small_invoices_are_charged_together_once_they_reach_the_minimum(world, stripe):
    ann = world.person()
    ann.subscribe(world.plan("p", 20))
    for month in ("02", "03"):
        assert {status for status, *_ in invoice_states(ann)} == {"open"}
        assert ann.subscription()["status"] == "active"
        world.go_to(f"2026-{month}-16")
    assert (stripe.charged_amounts(), ann.balances()) == ([60], [])
    assert {status for status, *_ in invoice_states(ann)} == {"paid"}


def test_a_declined_payment_leaves_what_it_carried_over_for_the_retry(world, stripe):
    ann = first_invoice_of_30_cents(world)
    good = ann.get("/v1/payment-methods").json["items"][0]["id"]
    bad = ann.add_card("pm_card_chargeDeclined")
    ann.put(f"/v1/payment-methods/{bad}/default")
    world.go_to("2026-02-15T12:00:00")
    assert invoice_states(ann)[0] == OPEN_30 and ann.invoices()[1]["status"] == "open"
    assert (ann.subscription()["status"], stripe.charged_amounts()) == ("past_due", [])
    ann.put(f"/v1/payment-methods/{good}/default")
    assert (invoice_states(ann), stripe.charged_amounts(), ann.balances()) == ([PAID, PAID], [1030], [])


def test_a_lost_response_does_not_charge_what_was_carried_over_twice(world, stripe):
    ann = first_invoice_of_30_cents(world)
    world.go_to("2026-02-14T12:00:00")
    stripe.lose_replies = 2
    world.go_to("2026-02-16")
    charge_once(world, ann, 700)
    assert (stripe.charged_amounts(), ann.balances()) == ([1030, 700], [])
    assert invoice_states(ann) == [PAID] * 3


def test_a_charge_in_doubt_keeps_others_from_carrying_the_same_balance(world, stripe):
    ann = first_invoice_of_30_cents(world)
    world.go_to("2026-02-14T12:00:00")
    stripe.before_reply = lambda: last_intent(stripe).update(status="processing")
    world.go_to("2026-02-15T00:00:10")
    charge_once(world, ann, 700)
    last_intent_of(stripe, 1030)["status"] = "succeeded"
    world.go_to("2026-02-16")
    assert (sorted(stripe.charged_amounts()), ann.balances()) == ([700, 1030], [])
    assert invoice_states(ann) == [PAID] * 3


def last_intent_of(stripe, amount):
    return [intent for intent in stripe.intents.values() if intent["amount"] == amount][-1]


def test_a_balance_too_small_to_charge_cannot_be_paid_by_hand_either(world, stripe):
    ann = first_invoice_of_30_cents(world)
    response = ann.post(f"/v1/invoices/{ann.invoices()[0]['id']}/payments")
    assert (response.status_code, response.json["code"]) == (409, "amount_too_small")
    assert stripe.charged_amounts() == []


def test_what_is_too_small_when_the_subscription_ends_is_written_off(world, stripe):
    ann = first_invoice_of_30_cents(world)
    ann.post(f"/v1/subscriptions/{ann.subscription()['id']}/cancellation", {"when": "period_end"})
    world.go_to("2026-02-16")
    assert ann.subscription()["status"] == "canceled"
    assert (invoice_states(ann), stripe.charged_amounts()) == ([("uncollectible", 0, False, None)], [])


def test_a_disputed_remainder_too_small_to_charge_makes_nobody_overdue(world, stripe):
    ann = world.person()
    ann.subscribe(world.plan("p", 1000))
    dispute = {"object": "dispute", "id": "du_1", "payment_intent": last_intent(stripe)["id"], "amount": 30}
    dispute |= {"currency": "usd", "status": "needs_response"}
    deliver_event(world, event(1, "charge.dispute.created", dispute))
    tick(world)
    assert (ann.subscription()["status"], invoice_states(ann)[0][:3]) == ("active", ("open", 30, True))
    world.go_to("2026-03-10")
    assert (ann.subscription()["status"], invoice_states(ann)[0]) == ("active", PAID)
    assert stripe.charged_amounts() == [1000, 1030]


def test_an_amount_that_stripe_finds_too_small_in_its_own_currency_is_carried_over(world, stripe):
    """Stripe converts most currencies and compares with the minimum of the currency that it pays out."""
    stripe.minimums["TRY"] = 2000
    ann = world.person()
    assert ann.subscribe(world.plan("p", 1200, currency="TRY")).json["status"] == "active"
    [invoice] = ann.invoices()
    assert (invoice["status"], invoice["next_attempt_on"], invoice["payments"][0]["decline_code"]) == (
        "open",
        None,
        "amount_too_small",
    )
    world.go_to("2026-01-25")
    assert (ann.subscription()["status"], stripe.charged_amounts()) == ("active", [])
    assert world.differences() == []
    world.go_to("2026-02-25")
    assert (stripe.charged_amounts(), ann.balances()) == ([2400], [])
    assert {status for status, *_ in invoice_states(ann)} == {"paid"}


def test_a_debt_that_stripe_finds_too_small_is_written_off_without_a_subscription(world, stripe):
    stripe.minimums["TRY"] = 2000
    ann = world.person()
    assert charge_once(world, ann, 1200, "TRY").status_code == 201
    world.go_to("2026-02-01")
    assert [state[0] for state in invoice_states(ann)] == ["open"]
    world.go_to("2026-02-16")
    assert [state[0] for state in invoice_states(ann)] == ["uncollectible"]


@pytest.mark.parametrize(
    ("currency", "most"), [("USD", 99_999_999), ("ISK", 999_999), ("MGA", 9_999_999_900), ("IDR", 999_999_999_999)]
)
def test_an_amount_above_the_maximum_is_refused(world, stripe, currency, most):
    ann = world.person()
    response = charge_once(world, ann, most + 1, currency)
    assert (response.status_code, list(response.json["errors"])) == (422, ["amount_minor"])
    price = {"currency": currency, "amount_minor": most + 1, "tax": "exclusive"}
    body = {"name": "Dear", "features": {}, "prices": [price]}
    response = world.operator.put("/v1/admin/plans/dear", body)
    assert response.status_code == 422
    response = charge_once(world, ann, most, currency)
    assert (response.status_code, ann.invoices()[0]["status"]) == (201, "paid")


def test_an_introductory_price_above_what_stripe_charges_is_refused(world, stripe):
    price = {"currency": "USD", "amount_minor": 1000, "intro": {"amount_minor": 99_999_999, "periods": 1}}
    assert world.operator.put("/v1/admin/plans/p", {"name": "P", "prices": [price]}).status_code == 200
    price["intro"] = {"amount_minor": 100_000_000, "periods": 1}
    refused = world.operator.put("/v1/admin/plans/p", {"name": "P", "prices": [price]})
    assert (refused.status_code, list(refused.json["errors"])) == (422, ["prices.0.intro.amount_minor"])


@pytest.mark.parametrize(("currency", "price", "charged"), [("KWD", 1235, 1240), ("MGA", 990_050, 990_100)])
def test_an_amount_that_stripe_cannot_charge_exactly_is_rounded_up_and_the_rest_becomes_credit(
    world, stripe, currency, price, charged
):
    """The renewal is due with the credit of the first payment's rounding."""
    ann, surplus = world.person(), charged - price
    assert ann.subscribe(world.plan("gulf", price, currency=currency)).json["status"] == "active"
    assert ann.invoices()[0]["payments"][0]["amount_minor"] == charged
    assert ann.balances() == [{"currency": currency, "amount_minor": surplus}]
    world.go_to("2026-02-16T12:00:00")
    renewal = ann.invoices()[-1]
    assert (renewal["status"], renewal["credit_applied_minor"]) == ("paid", surplus)
    assert renewal["payments"][0]["amount_minor"] % (10 if currency == "KWD" else 100) == 0


def refunded(stripe):
    return [refund["amount"] for refund in stripe.refunds.values()]


def test_a_refund_and_a_payout_are_rounded_down_to_what_stripe_refunds(world, stripe):
    ann, bob = world.person(), world.person()
    price = world.plan("gulf", 1235, currency="KWD")
    for person in (ann, bob):
        person.subscribe(price)
    path = f"/v1/admin/invoices/{ann.invoices()[0]['id']}/refunds"
    for body in ({"amount_minor": 9}, {"amount_minor": 5, "credit_note": False}):
        assert world.operator.post(path, body).status_code == 422
    full = world.operator.post(path, {})
    assert (full.status_code, full.json["status"], full.json["amount_minor"]) == (201, "succeeded", 1230)
    assert (refunded(stripe), ann.balances()) == ([1230], [{"currency": "KWD", "amount_minor": 10}])
    assert ann.invoices()[0]["status"] == "paid"
    bob.post(f"/v1/subscriptions/{bob.subscription()['id']}/cancellation", {"when": "now"})
    [owned] = [balance["amount_minor"] for balance in bob.balances()]
    assert owned == 1200  # with the 5 of the rounding
    body = {"currency": "KWD", "reason": "asked for it", "amount_minor": 1199}
    payout = world.operator.post(f"/v1/admin/accounts/{bob.id}/payouts", body).json
    assert ([part["status"] for part in payout["refunds"]], payout["bank_transfer_minor"]) == (["succeeded"], 9)
    assert (refunded(stripe), payout["status"]) == ([1230, 1190], "pending")


def test_a_gift_that_stripe_cannot_charge_exactly_is_rounded_up(world, stripe):
    ann, price = world.person(), world.plan("gulf", 1235, currency="KWD")
    gift = ann.post("/v1/gift-purchases", {"price_id": price, "periods": 1})
    assert (gift.status_code, gift.json["amount_minor"]) == (201, 1235)
    assert (stripe.charged_amounts(), ann.balances()) == ([1240], [{"currency": "KWD", "amount_minor": 5}])


@pytest.mark.parametrize(("currency", "step"), [("KWD", 10), ("MGA", 100)])
def test_a_part_that_stripe_cannot_charge_exactly_is_refused_before_it_is_sent(world, stripe, currency, step):
    ann = world.person()
    card = {"payment_method_id": ann.get("/v1/payment-methods").json["items"][0]["id"]}
    ann.put(f"/v1/payment-methods/{ann.add_card('pm_card_chargeDeclined')}/default")
    invoice = charge_once(world, ann, 123_456, currency).json
    path = f"/v1/invoices/{invoice['id']}/payments"
    refused = ann.post(path, {"amount_minor": 50_000 + step - 1} | card)
    assert (refused.status_code, refused.json["errors"]) == (
        422,
        {"amount_minor": [f"Must be a multiple of {step}, or all that is owed."]},
    )
    assert (stripe.charged_amounts(), len(ann.invoices()[0]["payments"])) == ([], 1)
    assert ann.post(path, {"amount_minor": 50_000} | card).status_code == 201
    rest = ann.post(path, {"amount_minor": 73_456} | card)
    assert (rest.status_code, ann.invoices()[0]["status"]) == (201, "paid")
    assert (rest.json["amount_minor"] - 73_456, len(stripe.charged_amounts())) == (-73_456 % step, 2)
