from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.worlds.billing_world import World


@pytest.fixture
def world(app):
    """Every test ends with an audit of the books."""
    world = World(app)
    yield world
    assert world.differences() == []


@pytest.fixture
def monthly(world):
    return world.plan("standard", 999)


def test_a_paid_subscription_has_an_invoice_and_one_payment(world, monthly):
    ann = world.person()
    response = ann.subscribe(monthly)
    assert response.status_code == 201, response.json
    assert response.json["status"] == "active"
    assert response.json["period"] == {"start": "2026-01-15", "end": "2026-02-15"}
    assert response.json["anchor_day"] == 15
    [invoice] = ann.invoices()
    assert (invoice["status"], invoice["number"]) == ("paid", "2026-000001")
    assert (invoice["total_minor"], invoice["amount_due_minor"], invoice["amount_paid_minor"]) == (999, 999, 999)
    assert [payment["status"] for payment in invoice["payments"]] == ["succeeded"]
    assert world.charges() == [999]


def test_a_trial_costs_nothing_until_it_ends(world):
    ann = world.person()
    response = ann.subscribe(world.plan("standard", 999, trial_days=30))
    assert (response.json["status"], response.json["trial_end"]) == ("trialing", "2026-02-14")
    assert world.charges() == []
    world.go_to("2026-02-13T23:59:00")
    assert world.charges() == []
    world.go_to("2026-02-14T00:00:00")
    assert (ann.subscription()["status"], world.charges()) == ("active", [999])
    assert ann.lines() == [("trial", "2026-01-15", "2026-02-14", 0), ("charge", "2026-02-14", "2026-03-14", 999)]


def test_a_trial_without_a_card_ends_when_it_would_cost_something(world):
    ann = world.person(card=None)
    ann.subscribe(world.plan("standard", 999, trial_days=30))
    world.go_to("2026-02-15")
    assert ann.subscription()["status"] == "canceled"
    assert ann.subscription()["cancel_reason"] == "trial_without_payment_method"
    assert len(ann.invoices()) == 1


@pytest.mark.parametrize("how, status", [("pause", "paused"), ("invoice", "past_due")])
def test_a_trial_without_a_card_can_be_configured_to_pause(app, monkeypatch, world, how, status):
    monkeypatch.setitem(app.extensions, "settings", app.extensions["settings"].replace(trial_without_card=how))
    ann = world.person(card=None)
    ann.subscribe(world.plan("standard", 999, trial_days=30))
    world.go_to("2026-02-15")
    assert (ann.subscription()["status"], world.charges()) == (status, [])
    ann.add_card()
    ann.delete(f"/v1/subscriptions/{ann.subscription()['id']}/pause")
    world.go_to("2026-02-17")
    assert (ann.subscription()["status"], world.charges()) == ("active", [999])


def test_one_trial_for_each_household_by_its_account_and_its_cards(world):
    price = world.plan("standard", 999, trial_days=30)
    ann, bob, cay, dee = (world.person(card=f"pm_card_visa{mark}") for mark in (":1", ":1", "", ""))
    assert ann.subscribe(price).json["status"] == "trialing"
    assert bob.subscribe(price).json["status"] == "active"
    assert cay.subscribe(price).json["status"] == "trialing"
    dee.delete(
        f"/v1/payment-methods/{dee.add_card('pm_card_visa:1')}"
    )  # same household, even after the card is removed
    assert dee.subscribe(price).json["status"] == "active"


def test_a_returning_customer_gets_no_second_trial(world):
    price = world.plan("standard", 999, trial_days=30)
    ann = world.person()
    ann.subscribe(price)
    ann.post(f"/v1/subscriptions/{ann.subscription()['id']}/cancellation", {"when": "now"})
    assert ann.subscribe(price).json["status"] == "active"


def test_a_future_start_is_charged_and_opened_on_its_date(world, monthly):
    ann = world.person()
    response = ann.subscribe(monthly, start_date="2026-02-01")
    assert (response.status_code, response.json["status"], response.json["period"]) == (201, "incomplete", None)
    world.go_to("2026-01-31T12:00:00")
    assert (world.charges(), ann.invoices()) == ([], [])
    world.go_to("2026-02-01T00:00:00")
    assert (ann.subscription()["status"], world.charges()) == ("active", [999])
    assert ann.lines() == [("charge", "2026-02-01", "2026-03-01", 999)]


def test_a_future_start_with_a_trial_begins_with_the_trial(world):
    ann = world.person()
    ann.subscribe(world.plan("standard", 999, trial_days=10), start_date="2026-02-01")
    assert ann.subscription()["status"] == "incomplete"
    world.go_to("2026-02-01T00:00:00")
    assert ann.subscription()["status"] == "trialing"
    world.go_to("2026-02-11T00:00:00")
    assert (ann.subscription()["status"], world.charges()) == ("active", [999])


def test_a_declined_future_start_leaves_no_subscription(world, monthly):
    ann = world.person(card="pm_card_chargeDeclined")
    ann.subscribe(monthly, start_date="2026-02-01")
    world.go_to("2026-02-01T06:00:00")
    assert ann.subscription()["status"] == "canceled"
    assert [invoice["status"] for invoice in ann.invoices()] == ["void"]


@pytest.mark.every_database
def test_two_parallel_requests_create_one_subscription(world, monthly):
    ann = world.person()
    ann.headers()
    with ThreadPoolExecutor(4) as pool:
        responses = list(pool.map(lambda n: ann.subscribe(monthly), range(4)))
    assert sorted(response.status_code for response in responses) == [201, 409, 409, 409]
    assert world.charges() == [999]


def test_renewals_come_once_a_period_on_the_original_day(world, monthly, clock):
    world.go_to("2026-01-31T10:00:00")
    ann = world.person()
    ann.subscribe(monthly)
    world.go_to("2026-05-01")
    assert [line[1] for line in ann.lines()] == ["2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30"]
    assert world.charges() == [999] * 4
    assert [invoice["number"] for invoice in ann.invoices()] == [f"2026-{n:06d}" for n in range(1, 5)]


def test_a_renewal_falls_due_at_the_accounts_own_midnight(world, monthly):
    ann = world.person(zone="America/New_York")
    ann.subscribe(monthly)
    world.go_to("2026-02-15T04:59:59")
    assert len(world.charges()) == 1
    world.go_to("2026-02-15T05:00:00")
    assert len(world.charges()) == 2


def test_a_declined_first_payment_leaves_no_subscription(world, monthly):
    ann = world.person(card="pm_card_chargeDeclinedInsufficientFunds")
    response = ann.subscribe(monthly)
    assert (response.status_code, response.json["code"]) == (402, "payment_failed")
    assert response.json["decline_code"] == "insufficient_funds"
    assert ann.subscription()["status"] == "canceled"
    assert [(invoice["status"], invoice["number"]) for invoice in ann.invoices()] == [("void", None)]
    ann.add_card()
    good = ann.get("/v1/payment-methods").json["items"][0]["id"]
    assert ann.subscribe(monthly, payment_method_id=good).status_code == 201
    assert ann.invoices()[-1]["number"] == "2026-000001"


def test_a_paid_plan_needs_a_card(world, monthly):
    response = world.person(card=None).subscribe(monthly)
    assert (response.status_code, response.json["decline_code"]) == (402, "payment_method_required")


def test_a_payment_that_needs_authentication_waits_for_the_customer(world, monthly):
    ann = world.person(card="pm_card_authenticationRequired")
    response = ann.subscribe(monthly)
    assert (response.status_code, response.json["code"]) == (402, "authentication_required")
    assert ann.subscription()["status"] == "incomplete"
    assert world.operator.post(response.json["next_action"]["path"], {"approve": True}).status_code == 200
    assert (ann.subscription()["status"], world.charges()) == ("active", [999])


def test_a_waiting_start_is_replaced_by_a_new_one(world, monthly):
    ann = world.person(card="pm_card_authenticationRequired")
    ann.subscribe(monthly)
    good = ann.add_card()
    assert ann.subscribe(monthly, payment_method_id=good).json["status"] == "active"
    assert [row["status"] for row in ann.get("/v1/subscriptions").json["items"]] == ["active", "canceled"]


def test_a_second_subscription_is_refused(world, monthly):
    ann = world.person()
    ann.subscribe(monthly)
    response = ann.subscribe(monthly)
    assert (response.status_code, response.json["code"]) == (409, "already_subscribed")


@pytest.mark.every_database
def test_the_same_key_charges_once_and_gets_the_same_response(world, monthly):
    ann = world.person()
    first = ann.post("/v1/subscriptions", {"price_id": monthly}, key="k1")
    again = ann.post("/v1/subscriptions", {"price_id": monthly}, key="k1")
    assert (first.status_code, first.json) == (again.status_code, again.json)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert world.charges() == [999]
    other = ann.post("/v1/subscriptions", {"price_id": monthly, "coupon": "x"}, key="k1")
    assert (other.status_code, other.json["code"]) == (422, "idempotency_key_reused")


def test_a_subscription_needs_an_idempotency_key(world, monthly):
    ann = world.person()
    response = ann.client.post("/v1/subscriptions", json={"price_id": monthly}, headers=ann.headers())
    assert (response.status_code, response.json["code"]) == (400, "idempotency_key_required")


def test_a_price_of_another_country_is_refused(world):
    price = world.plan("standard", 999, countries=["DE"])
    assert world.person(country="US").subscribe(price).status_code == 422
    assert world.person(country="DE").subscribe(price).status_code == 201


def test_a_lost_response_is_looked_up_and_not_charged_again(world, monthly):
    ann = world.person()
    world.next_charge("timeout")
    assert ann.subscribe(monthly).json["status"] == "active"
    assert world.charges() == [999]


def test_a_charge_that_never_arrived_is_sent_again_within_a_minute(world, monthly):
    ann = world.person()
    world.next_charge("error")
    assert ann.subscribe(monthly).json["status"] == "incomplete"
    world.go_to("2026-01-15T12:01:00")
    assert (ann.subscription()["status"], world.charges()) == ("active", [999])


def test_a_declined_renewal_is_past_due_and_retried(world, monthly):
    ann = world.person()
    ann.subscribe(monthly)
    world.next_charge("decline")
    world.go_to("2026-02-15T00:00:00")
    late = ann.subscription()
    assert (late["status"], late["past_due_since"]) == ("past_due", "2026-02-15")
    assert late["access_until"] == "2026-02-22T00:00:00Z"
    world.go_to("2026-02-16T00:00:00")
    assert ann.subscription()["status"] == "active"
    assert ann.subscription()["access_until"] is None
    assert [payment["status"] for payment in ann.invoices()[-1]["payments"]] == ["failed", "succeeded"]


def test_another_accounts_objects_do_not_exist(world, monthly):
    ann, bob = world.person(), world.person()
    subscription = ann.subscribe(monthly).json
    invoice = ann.invoices()[0]["id"]
    for path in (f"/v1/subscriptions/{subscription['id']}", f"/v1/invoices/{invoice}"):
        assert (bob.get(path).status_code, bob.get(path).json["code"]) == (404, "not_found")
        assert ann.get(path).status_code == 200


def test_a_free_plan_needs_no_card(world):
    ann = world.person(card=None)
    assert ann.subscribe(world.plan("free", 0)).json["status"] == "active"
    world.go_to("2026-04-01")
    assert ann.subscription()["status"] == "active"
    assert len(ann.invoices()) == 3
