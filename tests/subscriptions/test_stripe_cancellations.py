"""What the payer can no longer complete: replaced, abandoned and expired payments are canceled at Stripe."""

import pytest

from streamsvc.gateways.peers import close_circuits
from tests.worlds.billing_world import World
from tests.worlds.stripe_events import deliver_event, event, last_intent, tick
from tests.worlds.stripe_server import error_response

CREDIT_1000 = [{"currency": "USD", "amount_minor": 1000}]


@pytest.fixture
def world(app, stripe):
    world = World(app)
    yield world
    assert world.differences() == []


def start_with_authentication(world, stripe, price_id):
    """Return a person whose start awaits authentication, and its PaymentIntent."""
    person = world.person(card="pm_card_authenticationRequired")
    assert person.subscribe(price_id).status_code == 402
    return person, last_intent(stripe)


def payment_statuses(person):
    return [(p["status"], p["decline_code"]) for invoice in person.invoices() for p in invoice["payments"]]


def test_the_payer_cannot_finish_a_start_that_was_replaced(world, stripe):
    price = world.plan("p", 1000)
    bob, intent_of_bob = start_with_authentication(world, stripe, price)
    ann, replaced = start_with_authentication(world, stripe, price)
    assert ann.subscribe(price).status_code == 402
    current = last_intent(stripe)
    tick(world)
    assert (replaced["status"], replaced["cancellation_reason"]) == ("canceled", "abandoned")
    assert [stripe.authenticate(intent) for intent in (replaced, current)] == [False, True]
    deliver_event(world, event(1, "payment_intent.succeeded", current))
    tick(world)
    assert (ann.subscription()["status"], ann.balances(), stripe.charged_amounts()) == ("active", [], [1000])
    assert (intent_of_bob["status"], bob.subscription()["status"]) == ("requires_action", "incomplete")


def test_a_start_that_the_payer_finished_is_not_replaced_though_its_event_is_lost(world, stripe):
    price = world.plan("p", 1000)
    ann, intent = start_with_authentication(world, stripe, price)
    stripe.authenticate(intent)
    response = ann.subscribe(price)
    assert (response.status_code, response.json["code"]) == (409, "already_subscribed")
    assert (ann.subscription()["status"], stripe.charged_amounts()) == ("active", [1000])


def test_a_payment_finished_just_before_its_cancellation_is_credited(world, stripe):
    price = world.plan("p", 1000)
    ann, replaced = start_with_authentication(world, stripe, price)
    ann.subscribe(price)
    stripe.authenticate(replaced)
    tick(world)
    assert (replaced["status"], ann.balances()) == ("succeeded", CREDIT_1000)
    tick(world)
    assert ann.balances() == CREDIT_1000


def test_an_authentication_that_expired_cannot_be_finished(world, stripe):
    ann, intent = start_with_authentication(world, stripe, world.plan("p", 1000))
    world.go_to("2026-01-16T12:00:00")
    assert (stripe.authenticate(intent), intent["status"]) == (False, "canceled")
    assert (ann.subscription()["status"], payment_statuses(ann)) == (
        "canceled",
        [("failed", "authentication_abandoned")],
    )


def test_an_authentication_finished_without_an_event_is_booked_when_it_would_expire(world, stripe):
    ann, intent = start_with_authentication(world, stripe, world.plan("p", 1000))
    stripe.authenticate(intent)
    world.go_to("2026-01-16T12:00:00")
    assert (ann.subscription()["status"], payment_statuses(ann)) == ("active", [("succeeded", None)])


def test_a_refused_authentication_cannot_be_retried_with_another_card(world, stripe):
    ann, intent = start_with_authentication(world, stripe, world.plan("p", 1000))
    stripe.authenticate(intent, approve=False)
    deliver_event(world, event(1, "payment_intent.payment_failed", intent))
    tick(world)
    assert (ann.subscription()["status"], intent["status"]) == ("canceled", "canceled")


def test_a_replaced_payment_of_an_invoice_is_canceled(world, stripe):
    ann = world.person(card=None)
    body = {"account_id": ann.id, "amount_minor": 700, "currency": "USD", "description": "A repair"}
    invoice = world.operator.post("/v1/admin/invoices", body | {"tax": "inclusive"}).json
    ann.add_card("pm_card_authenticationRequired")
    assert [ann.post(f"/v1/invoices/{invoice['id']}/payments").status_code for _ in range(2)] == [402, 402]
    tick(world)
    intents = list(stripe.intents.values())  # of the new card, and of both requests
    assert [stripe.authenticate(intent) for intent in intents] == [False, False, True]
    response = ann.post(f"/v1/invoices/{invoice['id']}/payments")
    assert (response.status_code, response.json["code"]) == (409, "invoice_not_open"), "paid, though its event is lost"
    assert (ann.invoices()[0]["status"], stripe.charged_amounts(), ann.balances()) == ("paid", [700], [])


def test_the_payer_cannot_finish_a_change_that_was_reverted(world, stripe):
    cheap, dear = world.plan("cheap", 1000), world.plan("dear", 3000)
    ann = world.person()
    ann.subscribe(cheap)
    good = ann.get("/v1/payment-methods").json["items"][0]["id"]
    ann.put(f"/v1/payment-methods/{ann.add_card('pm_card_authenticationRequired')}/default")
    path = f"/v1/subscriptions/{ann.subscription()['id']}/plan-change"
    assert ann.post(path, {"price_id": dear, "when": "now"}).status_code == 402
    reverted = last_intent(stripe)
    ann.put(f"/v1/payment-methods/{good}/default")
    assert ann.post(path, {"price_id": dear, "when": "now"}).json["plan"]["code"] == "dear"
    tick(world)
    assert (stripe.authenticate(reverted), reverted["status"]) == (False, "canceled")
    assert ann.balances() == []


def test_a_cancellation_is_tried_again_until_stripe_is_back(world, stripe):
    price = world.plan("p", 1000)
    ann, replaced = start_with_authentication(world, stripe, price)
    ann.subscribe(price)
    stripe.failure = error_response(503, "api_error")
    tick(world)
    assert replaced["status"] == "requires_action"
    stripe.failure = None
    world.go_to("2026-01-15T12:15:00")
    assert replaced["status"] == "canceled"


def test_an_expiry_waits_until_stripe_is_back(world, stripe):
    """What the payer did is unknown until Stripe says so: the payment stays as it is."""
    ann, intent = start_with_authentication(world, stripe, world.plan("p", 1000))
    stripe.authenticate(intent)
    world.go_to("2026-01-16T10:59:00")
    stripe.failure = error_response(500, "api_error")
    world.go_to("2026-01-16T11:05:00")
    assert ann.subscription()["status"] == "incomplete"
    stripe.failure = None
    close_circuits()  # their time is not the sandbox's
    world.go_to("2026-01-16T11:10:00")
    assert ann.subscription()["status"] == "active"


def test_a_charge_that_is_still_processing_is_looked_up_by_its_id(world, stripe):
    ann = world.person(card="pm_card_visa")
    stripe.before_reply = lambda: last_intent(stripe).update(status="processing")
    assert ann.subscribe(world.plan("p", 1000)).json["status"] == "incomplete"
    last_intent(stripe)["status"] = "succeeded"
    stripe.responses.clear()
    world.go_to("2026-01-15T12:01:00")
    assert (ann.subscription()["status"], stripe.charged_amounts()) == ("active", [1000])
    assert ("GET", f"/v1/payment_intents/{last_intent(stripe)['id']}") in [r[:2] for r in stripe.requests]
