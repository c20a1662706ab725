"""Stripe through its own SDK, against a local server that speaks its interface."""

import hashlib
import hmac
import itertools
import json
from datetime import timedelta

import pytest

from streamsvc import clock
from streamsvc.settings import Settings, SettingsError
from tests.worlds.billing_world import World
from tests.worlds.stripe_server import stripe_server

SECRET = "whsec_test"


@pytest.fixture
def stripe(app, monkeypatch):
    with stripe_server() as (address, state):
        given = {"payment_provider": "stripe", "stripe_secret_key": "sk_test_1", "stripe_webhook_secret": SECRET}
        settings = app.extensions["settings"].replace(**given, stripe_url=address)
        monkeypatch.setitem(app.extensions, "settings", settings)
        yield state


@pytest.fixture
def world(app, stripe):
    world = World(app)
    yield world
    assert world.differences() == []


def callback(world, event, secret=SECRET, at=None):
    """Deliver an event as Stripe does: signed, with the time it was signed at."""
    body = json.dumps(event).encode()
    at = at or int(clock.wall_time().timestamp())
    signature = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    headers = {"Stripe-Signature": f"t={at},v1={signature}", "Content-Type": "application/json"}
    return world.operator.client.post("/v1/webhooks/stripe", data=body, headers=headers)


def event(number, kind, about):
    return {"id": f"evt_{number}", "object": "event", "type": kind, "data": {"object": about}}


def about_intent(stripe):
    return next(reversed(stripe.intents.values()))


def tick(world):
    world.go_to(world.clock.at)


def test_a_subscription_is_paid_and_renewed_through_stripe(world, stripe):
    ann = world.person()
    assert ann.subscribe(world.plan("p", 1000)).json["status"] == "active"
    world.go_to("2026-02-16")
    assert stripe.charged() == [1000, 1000]
    sessions = [params.get("off_session") for _, path, params, _ in stripe.requests if path == "/v1/payment_intents"]
    assert sessions == [None, "true"]


def test_cards_of_one_viewer_belong_to_one_customer(world, stripe):
    ann = world.person()
    ann.add_card()
    assert len([path for _, path, _, _ in stripe.requests if path == "/v1/customers"]) == 1


def test_a_card_is_set_up_for_off_session_charges(world, stripe):
    ann = world.person(card=None)
    answer = ann.post("/v1/payment-methods/setup")
    assert (answer.status_code, answer.json) == (201, {"provider": "stripe", "client_secret": "seti_secret"})
    ann.add_card()
    ann.subscribe(world.plan("p", 1000))
    asked = {path: params for _, path, params, _ in stripe.requests}
    assert asked["/v1/setup_intents"]["usage"] == "off_session"
    assert asked["/v1/payment_intents"]["setup_future_usage"] == "off_session"
    assert asked["/v1/setup_intents"]["customer"] == asked["/v1/payment_intents"]["customer"]


def test_a_decline_has_the_banks_decline_code(world, stripe):
    ann = world.person(card="pm_card_chargeDeclinedInsufficientFunds")
    answer = ann.subscribe(world.plan("p", 1000))
    assert (answer.status_code, answer.json["decline_code"]) == (402, "insufficient_funds")


def test_a_token_that_stripe_does_not_know_is_refused(world, stripe):
    answer = world.person(card=None).post("/v1/payment-methods", {"token": "nonsense"})
    assert (answer.status_code, list(answer.json["errors"])) == (422, ["token"])


def test_a_lost_response_is_retried_under_the_same_key(world, stripe):
    ann = world.person()
    stripe.lose_replies = 2  # the SDK itself tries twice
    assert ann.subscribe(world.plan("p", 1000)).json["status"] == "incomplete"
    world.go_to("2026-01-15T12:01:00")
    assert (ann.subscription()["status"], stripe.charged()) == ("active", [1000])


def test_a_payment_is_refunded_through_stripe(world, stripe):
    ann = world.person()
    ann.subscribe(world.plan("p", 1000))
    answer = world.operator.post(f"/v1/admin/invoices/{ann.invoices()[0]['id']}/refunds", {"amount_minor": 400})
    assert answer.json["status"] == "succeeded"


def test_currencies_that_stripe_writes_with_other_digits_are_charged_and_refunded_exactly(world, stripe):
    """ISK have none and are written with two; MGA have two and are written with none, so that part of one cannot be."""
    answers = []
    for currency, amount in (("ISK", 990), ("MGA", 990_000), ("MGA", 990_050), ("JPY", 990)):
        ann, code = world.person(), f"{currency}-{amount}".lower()
        answers.append(ann.subscribe(world.plan(code, amount, currency=currency)))
        if answers[-1].status_code == 201:
            world.operator.post(f"/v1/admin/invoices/{ann.invoices()[0]['id']}/refunds")
    assert stripe.charged() == [99_000, 9_900, 990]
    refunds = [int(params["amount"]) for _, path, params, _ in stripe.requests if path == "/v1/refunds"]
    assert refunds == [99_000, 9_900, 990]
    assert [one.status_code for one in answers] == [201, 201, 402, 201]
    assert answers[2].json["decline_code"] == "invalid_amount"


def test_a_charge_in_doubt_after_its_key_expired_is_searched_for(world, stripe):
    ann, price = world.person(), world.plan("p", 1000)
    stripe.lose_replies = 2
    assert ann.subscribe(price).json["status"] == "incomplete"
    stripe.answers.clear()  # a day later Stripe has forgotten the key
    world.clock.at += timedelta(hours=30)
    tick(world)
    assert (ann.subscription()["status"], stripe.charged()) == ("active", [1000])
    stripe.lose_replies = 2
    path = f"/v1/admin/invoices/{ann.invoices()[0]['id']}/refunds"
    assert world.operator.post(path, {"amount_minor": 400}).json["status"] == "unknown"
    stripe.answers.clear()
    world.clock.at += timedelta(hours=30)
    tick(world)
    assert ([one["amount"] for one in stripe.refunds.values()], ann.invoices()[0]["amount_paid_minor"]) == ([400], 600)


def test_a_refund_that_fails_later_is_the_customers_credit(world, stripe):
    ann = world.person()
    ann.subscribe(world.plan("p", 1000))
    path = f"/v1/admin/invoices/{ann.invoices()[0]['id']}/refunds"
    world.operator.post(path, {"amount_minor": 400})
    [refund] = stripe.refunds.values()
    for number in range(2):
        callback(world, event(number, "refund.failed", {**refund, "status": "failed"}))
        tick(world)
    assert ann.get("/v1/account/balance").json["balances"] == [{"currency": "USD", "amount_minor": 400}]
    assert ann.invoices()[0]["payments"][0]["refunded_minor"] == 0


def test_a_confirmed_payment_subscribes_when_the_event_arrives(world, stripe):
    ann = world.person(card="pm_card_authenticationRequired")
    answer = ann.subscribe(world.plan("p", 1000))
    assert answer.json["next_action"] == {"type": "stripe", "client_secret": "secret"}
    intent = about_intent(stripe)
    intent["status"] = "succeeded"
    told = event(1, "payment_intent.succeeded", intent)
    assert [callback(world, told).status_code for _ in range(2)] == [204, 204]
    tick(world)
    assert ann.subscription()["status"] == "active"
    assert len(ann.invoices()[0]["payments"]) == 1


def test_events_can_arrive_in_any_order_and_the_current_state_counts(world, stripe):
    """WH-001, WH-004: a late or repeated event changes nothing."""
    numbers = itertools.count(1)
    price = world.plan("p", 1000)
    for order in itertools.permutations(("requires_action", "payment_failed", "succeeded")):
        ann = world.person(card="pm_card_authenticationRequired")
        ann.subscribe(price)
        intent = about_intent(stripe)
        intent["status"] = "succeeded"
        for kind in order:
            said = {**intent, "status": {"succeeded": "succeeded"}.get(kind, "requires_payment_method")}
            callback(world, event(next(numbers), f"payment_intent.{kind}", said))
            tick(world)
        assert ann.subscription()["status"] == "active"
        assert [payment["status"] for payment in ann.invoices()[0]["payments"]] == ["succeeded"]


def test_an_event_before_the_response_to_our_call_changes_nothing(world, stripe):
    """WH-003: one subscription, with the plan that was asked for."""
    cheap, dear = world.plan("cheap", 500), world.plan("dear", 1000)
    ann, heard = world.person(), []

    def deliver():
        heard.append(callback(world, event(1, "payment_intent.succeeded", about_intent(stripe))).status_code)
        tick(world)
        heard.append(ann.subscription()["status"])

    stripe.before_reply = deliver
    shown = ann.subscribe(dear).json
    assert (heard, shown["status"], shown["plan"]["code"]) == ([204, "active"], "active", "dear")
    assert len(ann.get("/v1/subscriptions").json["items"]) == 1
    assert [payment["status"] for invoice in ann.invoices() for payment in invoice["payments"]] == ["succeeded"]
    assert stripe.charged() == [1000]
    assert cheap != shown["price"]["id"]


def test_money_that_arrives_after_the_payment_was_given_up_is_credited(world, stripe):
    ann = world.person(card="pm_card_authenticationRequired")
    ann.subscribe(world.plan("p", 1000))
    world.go_to("2026-01-16T12:00:00")
    assert ann.subscription()["status"] == "canceled"
    intent = about_intent(stripe)
    intent["status"] = "succeeded"
    callback(world, event(1, "payment_intent.succeeded", intent))
    tick(world)
    assert ann.get("/v1/account/balance").json["balances"] == [{"currency": "USD", "amount_minor": 1000}]


def test_a_dispute_has_the_same_result_in_any_order_of_events(world, stripe):
    price, numbers, people = world.plan("p", 1000), itertools.count(1), []
    ends = {
        "won": (("funds_reinstated", "closed", "created"), ("paid", "succeeded")),
        "lost": (("funds_withdrawn", "closed", "created"), ("open", "disputed")),
        "warning_closed": (("closed", "created"), ("paid", "succeeded")),
    }
    for status, (kinds, outcome) in ends.items():
        begins = "warning_needs_response" if status.startswith("warning") else "needs_response"
        for order in (kinds, kinds[1:], kinds[::-1]):
            ann, dispute = world.person(), f"du_{next(numbers)}"
            ann.subscribe(price)
            about = {"object": "dispute", "id": dispute, "payment_intent": about_intent(stripe)["id"]}
            for kind in order:
                told = {**about, "status": begins if kind in ("created", "funds_withdrawn") else status}
                callback(world, event(next(numbers), f"charge.dispute.{kind}", told))
            people.append((ann, order, outcome))
    tick(world)
    for ann, order, outcome in people:
        [invoice] = ann.invoices()
        assert (invoice["status"], invoice["payments"][0]["status"]) == outcome, order


def test_a_disputed_amount_is_owed_until_the_dispute_is_decided(world, stripe):
    ann = world.person()
    ann.subscribe(world.plan("p", 1000))
    intent = about_intent(stripe)["id"]
    about = {"object": "dispute", "id": "du_1", "payment_intent": intent, "status": "needs_response"}
    callback(world, event(1, "charge.dispute.created", about))
    tick(world)
    assert (ann.invoices()[0]["status"], ann.subscription()["status"]) == ("open", "past_due")


def test_only_the_disputed_amount_is_owed_again_and_never_more_than_was_paid(world, stripe):
    numbers, people, price = itertools.count(1), [], world.plan("p", 1000)

    def tell(person, kind, amount, status, currency="usd"):
        intent = stripe_intents[person.id]
        about = {"object": "dispute", "id": f"du_{intent}", "payment_intent": intent, "amount": amount}
        told = {**about, "currency": currency, "status": status}
        callback(world, event(next(numbers), f"charge.dispute.{kind}", told))
        tick(world)

    def standing(person):
        [invoice] = person.invoices()
        names = ("status", "amount_paid_minor", "balance_minor")
        return *(invoice[name] for name in names), invoice["payments"][0]["disputed_minor"]

    def refund(person, amount):
        path = f"/v1/admin/invoices/{person.invoices()[0]['id']}/refunds"
        return world.operator.post(path, {"amount_minor": amount})

    stripe_intents = {}
    for _ in range(3):
        people.append(world.person())
        people[-1].subscribe(price)
        stripe_intents[people[-1].id] = about_intent(stripe)["id"]
    part, refunded, foreign = people
    refund(refunded, 700)
    for person, amount, currency in ((part, 400, "usd"), (refunded, 1000, "usd"), (foreign, 400, "eur")):
        tell(person, "created", amount, "needs_response", currency)
        tell(person, "funds_withdrawn", amount, "needs_response", currency)
    owed = [("open", 600, 400, 400), ("open", 0, 300, 300), ("open", 0, 1000, 1000)]
    assert [standing(person) for person in people] == owed
    assert (refund(part, 601).status_code, refund(part, 100).status_code) == (422, 201)
    tell(part, "closed", 400, "lost")
    tell(refunded, "funds_reinstated", 1000, "won")
    assert [standing(person) for person in people[:2]] == [("open", 500, 400, 400), ("paid", 300, 0, 0)]


def test_an_unsigned_event_has_no_effect(world, stripe):
    told = event(1, "payment_intent.succeeded", {"object": "payment_intent", "id": "pi_1", "metadata": {}})
    old = int(clock.wall_time().timestamp()) - 600
    for answer in (callback(world, told, secret="whsec_other"), callback(world, told, at=old)):
        assert (answer.status_code, answer.json["code"]) == (400, "signature_invalid")
    assert world.operator.client.post("/v1/webhooks/stripe", json=told).status_code == 400


def test_an_event_about_an_unknown_object_is_accepted_and_ignored(world, stripe):
    told = event(1, "payment_intent.succeeded", {"object": "payment_intent", "id": "pi_1", "metadata": {}})
    assert callback(world, told).status_code == 204
    assert callback(world, event(2, "customer.created", {"object": "customer", "id": "cus_1"})).status_code == 204
    tick(world)


def test_the_sandbox_refuses_to_start_with_a_live_key(tmp_path):
    given = {"payment_provider": "stripe", "stripe_secret_key": "sk_live_1", "stripe_webhook_secret": SECRET}
    with pytest.raises(SettingsError, match="live"):
        Settings(data_dir=str(tmp_path), sandbox=True, **given).with_defaults()
    with pytest.raises(SettingsError, match="both"):
        Settings(data_dir=str(tmp_path), payment_provider="stripe").with_defaults()
