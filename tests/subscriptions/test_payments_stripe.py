"""Stripe through its own SDK, against a local server with Stripe's API."""

import itertools
from datetime import timedelta

import pytest

from streamsvc import clock
from streamsvc.gateways.peers import close_circuits
from streamsvc.settings import Settings, SettingsError
from tests.worlds.billing_world import World
from tests.worlds.stripe_events import SECRET, deliver_event, event, last_intent, tick
from tests.worlds.stripe_server import error_response


@pytest.fixture
def world(app, stripe):
    world = World(app)
    yield world
    assert world.differences() == []


def test_a_subscription_is_paid_and_renewed_through_stripe(world, stripe):
    ann = world.person()
    assert ann.subscribe(world.plan("p", 1000)).json["status"] == "active"
    world.go_to("2026-02-16")
    assert stripe.charged_amounts() == [1000, 1000]
    sessions = [params.get("off_session") for _, path, params, _ in stripe.requests if path == "/v1/payment_intents"]
    assert sessions == [None, "true"]


def test_cards_of_one_viewer_belong_to_one_customer(world, stripe):
    ann = world.person()
    ann.add_card()
    assert len([path for _, path, _, _ in stripe.requests if path == "/v1/customers"]) == 1


def test_a_card_is_set_up_for_off_session_charges(world, stripe):
    ann = world.person(card=None)
    response = ann.post("/v1/payment-methods/setup")
    [setup_id] = stripe.setups
    expected = {"provider": "stripe", "setup_id": setup_id, "client_secret": f"{setup_id}_secret_1"}
    assert (response.status_code, response.json) == (201, expected)
    ann.add_card()
    ann.subscribe(world.plan("p", 1000))
    sent = {path: params for _, path, params, _ in stripe.requests}
    assert sent["/v1/setup_intents"]["usage"] == "off_session"
    assert sent["/v1/setup_intents"]["allowed_payment_method_types[0]"] == "card"
    assert sent["/v1/payment_intents"]["setup_future_usage"] == "off_session"
    assert sent["/v1/setup_intents"]["customer"] == sent["/v1/payment_intents"]["customer"]


def test_a_decline_has_the_banks_decline_code(world, stripe):
    ann = world.person(card="pm_card_chargeDeclinedInsufficientFunds")
    response = ann.subscribe(world.plan("p", 1000))
    assert (response.status_code, response.json["decline_code"]) == (402, "insufficient_funds")


def test_a_token_that_stripe_does_not_know_is_refused(world, stripe):
    response = world.person(card=None).post("/v1/payment-methods", {"token": "nonsense"})
    assert (response.status_code, list(response.json["errors"])) == (422, ["token"])


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (500, "api_error"),
        (429, "rate_limit_error"),
        (401, "invalid_request_error"),
        (403, "invalid_request_error"),
        (409, "idempotency_error"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/payment-methods", "/v1/payment-methods/setup"])
def test_what_is_no_matter_of_the_card_is_unavailable(world, stripe, path, status, kind):
    """Stripe is down, limits our calls, or does not accept our key: the response says so and is no 500."""
    ann = world.person(card=None)
    stripe.failure = error_response(status, kind)
    response = ann.post(path, {"token": "pm_card_visa"} if path.endswith("methods") else None)
    assert (response.status_code, response.json["code"], response.headers["Retry-After"]) == (503, "unavailable", "2")


@pytest.mark.parametrize(("path", "limit"), [("/v1/payment-methods", 10), ("/v1/payment-methods/setup", 20)])
def test_an_outage_uses_up_none_of_the_attempts_of_a_day(world, stripe, path, limit):
    ann = world.person(card=None)
    body = {"token": "pm_card_visa"} if path.endswith("methods") else None
    stripe.failure = error_response(500, "api_error")
    assert {ann.post(path, body).status_code for _ in range(limit + 1)} == {503}
    stripe.failure = None
    close_circuits()
    assert [ann.post(path, body).status_code for _ in range(limit + 1)] == [201] * limit + [429]


def test_a_lost_response_is_retried_under_the_same_key(world, stripe):
    ann = world.person()
    stripe.lose_replies = 2  # the SDK itself tries twice
    assert ann.subscribe(world.plan("p", 1000)).json["status"] == "incomplete"
    world.go_to("2026-01-15T12:01:00")
    assert (ann.subscription()["status"], stripe.charged_amounts()) == ("active", [1000])


def test_a_payment_is_refunded_through_stripe(world, stripe):
    ann = world.person()
    ann.subscribe(world.plan("p", 1000))
    response = world.operator.post(f"/v1/admin/invoices/{ann.invoices()[0]['id']}/refunds", {"amount_minor": 400})
    assert response.json["status"] == "succeeded"


def test_currencies_that_stripe_writes_with_other_digits_are_charged_and_refunded_exactly(world, stripe):
    """Stripe writes ISK, which has no minor units, with two digits, and MGA, which has two, without: no fractions."""
    responses = []
    for currency, amount in (("ISK", 990), ("MGA", 990_000), ("JPY", 990)):
        ann, code = world.person(), f"{currency}-{amount}".lower()
        responses.append(ann.subscribe(world.plan(code, amount, currency=currency)))
        if responses[-1].status_code == 201:
            world.operator.post(f"/v1/admin/invoices/{ann.invoices()[0]['id']}/refunds")
    assert stripe.charged_amounts() == [99_000, 9_900, 990]
    refunds = [int(params["amount"]) for _, path, params, _ in stripe.requests if path == "/v1/refunds"]
    assert refunds == [99_000, 9_900, 990]
    assert [response.status_code for response in responses] == [201, 201, 201]


def test_a_charge_in_doubt_after_its_key_expired_is_searched_for(world, stripe):
    ann, price = world.person(), world.plan("p", 1000)
    stripe.lose_replies = 2
    assert ann.subscribe(price).json["status"] == "incomplete"
    stripe.responses.clear()  # a day later Stripe has forgotten the key
    world.clock.at += timedelta(hours=30)
    tick(world)
    assert (ann.subscription()["status"], stripe.charged_amounts()) == ("active", [1000])
    stripe.lose_replies = 2
    path = f"/v1/admin/invoices/{ann.invoices()[0]['id']}/refunds"
    assert world.operator.post(path, {"amount_minor": 400}).json["status"] == "unknown"
    stripe.responses.clear()
    world.clock.at += timedelta(hours=30)
    tick(world)
    assert ([refund["amount"] for refund in stripe.refunds.values()], ann.invoices()[0]["amount_paid_minor"]) == (
        [400],
        600,
    )


def test_a_refund_that_fails_later_is_the_customers_credit(world, stripe):
    ann = world.person()
    ann.subscribe(world.plan("p", 1000))
    path = f"/v1/admin/invoices/{ann.invoices()[0]['id']}/refunds"
    world.operator.post(path, {"amount_minor": 400})
    [refund] = stripe.refunds.values()
    refund["status"] = "failed"
    for number in range(2):
        deliver_event(world, event(number, "refund.failed", refund))
        tick(world)
    assert ann.get("/v1/account/balance").json["balances"] == [{"currency": "USD", "amount_minor": 400}]
    assert ann.invoices()[0]["payments"][0]["refunded_minor"] == 0


def test_a_confirmed_payment_subscribes_when_the_event_arrives(world, stripe):
    ann = world.person(card="pm_card_authenticationRequired")
    response = ann.subscribe(world.plan("p", 1000))
    intent = last_intent(stripe)
    assert response.json["next_action"] == {"type": "stripe", "client_secret": intent["client_secret"]}
    intent["status"] = "succeeded"
    succeeded = event(1, "payment_intent.succeeded", intent)
    assert [deliver_event(world, succeeded).status_code for _ in range(2)] == [204, 204]
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
        intent = last_intent(stripe)
        intent["status"] = "succeeded"
        for kind in order:
            reported = {**intent, "status": {"succeeded": "succeeded"}.get(kind, "requires_payment_method")}
            deliver_event(world, event(next(numbers), f"payment_intent.{kind}", reported))
            tick(world)
        assert ann.subscription()["status"] == "active"
        assert [payment["status"] for payment in ann.invoices()[0]["payments"]] == ["succeeded"]


def test_an_event_before_the_response_to_our_call_changes_nothing(world, stripe):
    """WH-003: one subscription, with the requested plan."""
    cheap, dear = world.plan("cheap", 500), world.plan("dear", 1000)
    ann, deliveries = world.person(), []

    def deliver():
        deliveries.append(deliver_event(world, event(1, "payment_intent.succeeded", last_intent(stripe))).status_code)
        tick(world)
        deliveries.append(ann.subscription()["status"])

    stripe.before_reply = deliver
    subscription = ann.subscribe(dear).json
    assert (deliveries, subscription["status"], subscription["plan"]["code"]) == ([204, "active"], "active", "dear")
    assert len(ann.get("/v1/subscriptions").json["items"]) == 1
    assert [payment["status"] for invoice in ann.invoices() for payment in invoice["payments"]] == ["succeeded"]
    assert stripe.charged_amounts() == [1000]
    assert cheap != subscription["price"]["id"]


def test_money_that_arrives_after_the_payment_was_given_up_is_credited(world, stripe):
    ann = world.person(card="pm_card_authenticationRequired")
    ann.subscribe(world.plan("p", 1000))
    world.go_to("2026-01-16T12:00:00")
    assert ann.subscription()["status"] == "canceled"
    intent = last_intent(stripe)
    intent["status"] = "succeeded"
    deliver_event(world, event(1, "payment_intent.succeeded", intent))
    tick(world)
    assert ann.get("/v1/account/balance").json["balances"] == [{"currency": "USD", "amount_minor": 1000}]


def test_a_dispute_has_the_same_result_in_any_order_of_events(world, stripe):
    price, numbers, people = world.plan("p", 1000), itertools.count(1), []
    results = {
        "won": (("funds_reinstated", "closed", "created"), ("paid", "succeeded")),
        "lost": (("funds_withdrawn", "closed", "created"), ("open", "disputed")),
        "warning_closed": (("closed", "created"), ("paid", "succeeded")),
    }
    for status, (kinds, outcome) in results.items():
        opened = "warning_needs_response" if status.startswith("warning") else "needs_response"
        for order in (kinds, kinds[1:], kinds[::-1]):
            ann, dispute_id = world.person(), f"du_{next(numbers)}"
            ann.subscribe(price)
            dispute = {"object": "dispute", "id": dispute_id, "payment_intent": last_intent(stripe)["id"]}
            for kind in order:
                reported = {**dispute, "status": opened if kind in ("created", "funds_withdrawn") else status}
                deliver_event(world, event(next(numbers), f"charge.dispute.{kind}", reported))
            people.append((ann, order, outcome))
    tick(world)
    for ann, order, outcome in people:
        [invoice] = ann.invoices()
        assert (invoice["status"], invoice["payments"][0]["status"]) == outcome, order


def test_a_disputed_amount_is_owed_until_the_dispute_is_decided(world, stripe):
    ann = world.person()
    ann.subscribe(world.plan("p", 1000))
    intent = last_intent(stripe)["id"]
    dispute = {"object": "dispute", "id": "du_1", "payment_intent": intent, "status": "needs_response"}
    deliver_event(world, event(1, "charge.dispute.created", dispute))
    tick(world)
    assert (ann.invoices()[0]["status"], ann.subscription()["status"]) == ("open", "past_due")


def test_only_the_disputed_amount_is_owed_again_and_never_more_than_was_paid(world, stripe):
    numbers, people, price = itertools.count(1), [], world.plan("p", 1000)

    def deliver(person, kind, amount, status, currency="usd"):
        intent = stripe_intents[person.id]
        dispute = {"object": "dispute", "id": f"du_{intent}", "payment_intent": intent, "amount": amount}
        dispute |= {"currency": currency, "status": status}
        deliver_event(world, event(next(numbers), f"charge.dispute.{kind}", dispute))
        tick(world)

    def invoice_state(person):
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
        stripe_intents[people[-1].id] = last_intent(stripe)["id"]
    part, refunded, foreign = people
    refund(refunded, 700)
    for person, amount, currency in ((part, 400, "usd"), (refunded, 1000, "usd"), (foreign, 400, "eur")):
        deliver(person, "created", amount, "needs_response", currency)
        deliver(person, "funds_withdrawn", amount, "needs_response", currency)
    owed = [("open", 600, 400, 400), ("open", 0, 300, 300), ("open", 0, 1000, 1000)]
    assert [invoice_state(person) for person in people] == owed
    assert (refund(part, 601).status_code, refund(part, 100).status_code) == (422, 201)
    deliver(part, "closed", 400, "lost")
    deliver(refunded, "funds_reinstated", 1000, "won")
    assert [invoice_state(person) for person in people[:2]] == [("open", 500, 400, 400), ("paid", 300, 0, 0)]


def test_an_unsigned_event_has_no_effect(world, stripe):
    unknown = event(1, "payment_intent.succeeded", {"object": "payment_intent", "id": "pi_1", "metadata": {}})
    old = int(clock.wall_time().timestamp()) - 600
    for response in (deliver_event(world, unknown, secret="whsec_other"), deliver_event(world, unknown, at=old)):
        assert (response.status_code, response.json["code"]) == (400, "signature_invalid")
    assert world.operator.client.post("/v1/webhooks/stripe", json=unknown).status_code == 400


def test_an_event_about_an_unknown_object_is_accepted_and_ignored(world, stripe):
    unknown = event(1, "payment_intent.succeeded", {"object": "payment_intent", "id": "pi_1", "metadata": {}})
    assert deliver_event(world, unknown).status_code == 204
    assert deliver_event(world, event(2, "customer.created", {"object": "customer", "id": "cus_1"})).status_code == 204
    tick(world)


def test_the_sandbox_refuses_to_start_with_a_live_key(tmp_path):
    values = {"payment_provider": "stripe", "stripe_secret_key": "sk_live_1", "stripe_webhook_secret": SECRET}
    with pytest.raises(SettingsError, match="live"):
        Settings(data_dir=str(tmp_path), sandbox=True, **values).with_defaults()
    with pytest.raises(SettingsError, match="both"):
        Settings(data_dir=str(tmp_path), payment_provider="stripe").with_defaults()


def test_refunds_in_flight_are_neither_credit_nor_the_end_of_a_debt(world, stripe):
    """1.00 of 10.00 is charged back. Refunds pay out credit notes of 3.00, and of the rest including what is owed."""
    ann = world.person()
    ann.subscribe(world.plan("p", 1000))
    invoice, intent = ann.invoices()[0], last_intent(stripe)
    dispute = {"object": "dispute", "id": "dp_1", "payment_intent": intent["id"], "amount": 100, "currency": "usd"}
    deliver_event(world, event(1, "charge.dispute.created", {**dispute, "status": "needs_response", "metadata": {}}))
    tick(world)
    world.clock.at += timedelta(days=1)

    def refund(**body):
        stripe.lose_replies = 2
        response = world.operator.post(f"/v1/admin/invoices/{invoice['id']}/refunds", body)
        assert response.json["status"] == "unknown"
        return ann.invoices()[0]["status"], ann.subscription()["past_due_since"], ann.balances()

    assert refund(amount_minor=300) == ("open", "2026-01-15", [])
    world.clock.at += timedelta(seconds=20)
    assert refund() == ("paid", None, [])
    world.go_to(world.clock.at + timedelta(seconds=20))  # the first has arrived, the second has not
    assert ([refund["amount"] for refund in stripe.refunds.values()], ann.balances()) == ([300, 600], [])
    assert ann.invoices()[0]["amount_paid_minor"] == 600
    world.go_to(world.clock.at + timedelta(minutes=2))
    assert sorted(refund["amount"] for refund in stripe.refunds.values()) == [300, 600]
    state = ann.invoices()[0]
    assert (state["status"], state["balance_minor"], ann.subscription()["status"]) == ("paid", 0, "active")
    assert ann.balances() == []


def test_money_of_a_payment_that_was_given_up_clears_a_debt(world, stripe):
    ann = world.person()
    ann.subscribe(world.plan("p", 1000))
    [invoice] = ann.invoices()
    world.operator.post(f"/v1/admin/invoices/{invoice['id']}/refunds", {"amount_minor": 400, "credit_note": False})
    assert (ann.invoices()[0]["status"], ann.subscription()["status"]) == ("open", "past_due")
    path = f"/v1/invoices/{invoice['id']}/payments"
    cards = [ann.add_card(token) for token in ("pm_card_authenticationRequired", "pm_card_chargeDeclined")]
    waiting = next(intent for intent in stripe.intents.values() if intent["status"] == "requires_action")
    assert ann.post(path, {"payment_method_id": cards[1]}).status_code == 402
    assert ann.subscription()["status"] == "past_due"
    waiting["status"] = "succeeded"
    deliver_event(world, event(1, "payment_intent.succeeded", waiting))
    tick(world)
    assert (ann.invoices()[0]["status"], ann.invoices()[0]["balance_minor"]) == ("paid", 0)
    assert (ann.subscription()["status"], ann.subscription()["access_until"]) == ("active", None)
