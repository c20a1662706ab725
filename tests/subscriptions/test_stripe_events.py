"""What happens at Stripe itself: refunds, disputes, replaced cards and deleted customers, in any order of events."""

import itertools

import pytest

from tests.worlds.billing_world import World
from tests.worlds.stripe_events import deliver_event, event, last_intent, tick
from tests.worlds.stripe_server import error_response


@pytest.fixture
def world(app, stripe):
    world = World(app)
    yield world
    assert world.differences() == []


@pytest.fixture
def numbers():
    return itertools.count(1)


def refund_at_stripe(stripe, intent, amount=None):
    """Refund a payment in the Dashboard; return the refund."""
    params = {"payment_intent": intent["id"]} | ({"amount": str(amount)} if amount else {})
    return stripe.refund(params)


def charge_of(intent):
    return {"object": "charge", "id": "ch_1", "payment_intent": intent["id"], "metadata": intent["metadata"]}


def state_of(person):
    [invoice] = person.invoices()
    amounts = tuple(invoice[name] for name in ("status", "amount_paid_minor", "balance_minor"))
    return *amounts, [note["total_minor"] for note in invoice["credit_notes"]], invoice["payments"][0]["refunded_minor"]


def subscribers(world, stripe, count=2):
    """Return (person, PaymentIntent) of subscribers who paid 1000."""
    price = world.plan("p", 1000)
    pairs = []
    for _ in range(count):
        person = world.person()
        person.subscribe(price)
        pairs.append((person, last_intent(stripe)))
    return pairs


@pytest.mark.parametrize("order", list(itertools.permutations(("refund.created", "charge.refunded", "refund.updated"))))
def test_a_refund_made_in_the_dashboard_is_booked_once_with_a_credit_note(world, stripe, numbers, order):
    (ann, intent), (bob, _) = subscribers(world, stripe)
    refund = refund_at_stripe(stripe, intent, 400)
    for kind in (*order, *order):
        reported = charge_of(intent) if kind.startswith("charge") else refund
        deliver_event(world, event(next(numbers), kind, reported))
        tick(world)
    assert (state_of(ann), ann.balances()) == (("paid", 600, 0, [400], 400), [])
    assert (ann.subscription()["status"], state_of(bob)) == ("active", ("paid", 1000, 0, [], 0))


def test_several_refunds_made_in_the_dashboard_are_booked_up_to_the_payment(world, stripe, numbers):
    [(ann, intent)] = subscribers(world, stripe, 1)
    for amount in (300, None):
        refund_at_stripe(stripe, intent, amount)
    deliver_event(world, event(next(numbers), "charge.refunded", charge_of(intent)))
    tick(world)
    assert (state_of(ann), ann.balances()) == (("paid", 0, 0, [300, 700], 1000), [])


def test_a_refund_of_ours_is_not_booked_again_when_its_event_arrives_first(world, stripe, numbers):
    [(ann, _)] = subscribers(world, stripe, 1)
    path = f"/v1/admin/invoices/{ann.invoices()[0]['id']}/refunds"
    stripe.lose_replies = 2
    assert world.operator.post(path, {"amount_minor": 400}).json["status"] == "unknown"
    [refund] = stripe.refunds.values()
    deliver_event(world, event(next(numbers), "refund.created", refund))
    tick(world)
    assert state_of(ann) == ("paid", 600, 0, [400], 400)
    world.go_to("2026-01-15T12:30:00")
    assert (state_of(ann), len(stripe.refunds)) == (("paid", 600, 0, [400], 400), 1)


def test_a_refund_of_what_was_credited_before_takes_the_credit_back(world, stripe, numbers):
    [(ann, intent)] = subscribers(world, stripe, 1)
    path = f"/v1/admin/invoices/{ann.invoices()[0]['id']}/credit-notes"
    assert world.operator.post(path, {"amount_minor": 1000, "reason": "goodwill"}).status_code == 201
    assert ann.balances() == [{"currency": "USD", "amount_minor": 1000}]
    deliver_event(world, event(next(numbers), "refund.created", refund_at_stripe(stripe, intent)))
    tick(world)
    assert (state_of(ann), ann.balances()) == (("paid", 0, 0, [1000], 1000), [])


def test_a_refund_at_stripe_of_credit_that_was_spent_makes_the_subscription_past_due(world, stripe, numbers):
    """A one-off of 500 is credited, the credit pays for most of a start, and then the payment of 500 is refunded."""
    ann = world.person()
    charge = {"account_id": ann.id, "amount_minor": 500, "currency": "USD", "description": "Poster", "tax": "inclusive"}
    one_off = world.operator.post("/v1/admin/invoices", charge).json
    assert one_off["status"] == "paid"
    intent = last_intent(stripe)
    world.operator.post(f"/v1/admin/invoices/{one_off['id']}/credit-notes", {"amount_minor": 500, "reason": "sorry"})
    assert ann.subscribe(world.plan("p", 1000)).status_code == 201
    deliver_event(world, event(next(numbers), "refund.created", refund_at_stripe(stripe, intent)))
    tick(world)
    assert (ann.subscription()["status"], ann.balances()) == ("past_due", [])


def test_a_refund_of_a_payment_that_became_credit_takes_the_credit_back(world, stripe, numbers):
    ann = world.person(card="pm_card_authenticationRequired")
    price = world.plan("p", 1000)
    ann.subscribe(price)
    late = last_intent(stripe)
    ann.subscribe(price)
    stripe.authenticate(late)
    tick(world)
    assert ann.balances() == [{"currency": "USD", "amount_minor": 1000}]
    for kind in ("refund.created", "charge.refunded"):
        if kind == "refund.created":
            refund_at_stripe(stripe, late)
        deliver_event(world, event(next(numbers), kind, charge_of(late)))
        tick(world)
    assert ann.balances() == []


@pytest.mark.parametrize("status", ["failed", "canceled"])
@pytest.mark.parametrize("is_ours", [True, False])
def test_a_refund_that_comes_back_is_the_customers_credit(world, stripe, numbers, status, is_ours):
    [(ann, intent)] = subscribers(world, stripe, 1)
    if is_ours:
        world.operator.post(f"/v1/admin/invoices/{ann.invoices()[0]['id']}/refunds", {"amount_minor": 400})
    else:
        deliver_event(world, event(next(numbers), "refund.created", refund_at_stripe(stripe, intent, 400)))
        tick(world)
    [refund] = stripe.refunds.values()
    refund["status"] = status
    for _ in range(2):
        deliver_event(world, event(next(numbers), "refund.updated", refund))
        tick(world)
    assert ann.balances() == [{"currency": "USD", "amount_minor": 400}]
    assert state_of(ann) == ("paid", 1000, 0, [400], 0)


def test_a_refund_is_booked_after_the_payment_whose_event_is_lost(world, stripe, numbers):
    ann = world.person(card="pm_card_authenticationRequired")
    ann.subscribe(world.plan("p", 1000))
    stripe.authenticate(last_intent(stripe))
    refund = refund_at_stripe(stripe, last_intent(stripe), 400)
    deliver_event(world, event(next(numbers), "refund.created", refund))
    tick(world)
    assert (state_of(ann), ann.subscription()["status"]) == (("paid", 600, 0, [400], 400), "active")


def test_a_refund_event_is_processed_when_stripe_is_back(world, stripe, numbers):
    [(ann, intent)] = subscribers(world, stripe, 1)
    deliver_event(world, event(next(numbers), "refund.created", refund_at_stripe(stripe, intent, 400)))
    stripe.failure = error_response(503, "api_error")
    tick(world)
    assert state_of(ann) == ("paid", 1000, 0, [], 0)
    stripe.failure = None
    world.go_to("2026-01-15T12:02:00")
    assert state_of(ann) == ("paid", 600, 0, [400], 400)


def test_a_payment_event_is_processed_when_stripe_is_back(world, stripe, numbers):
    ann = world.person(card="pm_card_authenticationRequired")
    ann.subscribe(world.plan("p", 1000))
    stripe.authenticate(last_intent(stripe))
    deliver_event(world, event(next(numbers), "payment_intent.succeeded", last_intent(stripe)))
    stripe.failure = error_response(429, "rate_limit_error")
    tick(world)
    assert ann.subscription()["status"] == "incomplete"
    stripe.failure = None
    world.go_to("2026-01-15T12:02:00")
    assert ann.subscription()["status"] == "active"


def test_a_refund_of_a_payment_of_another_system_is_ignored(world, stripe, numbers):
    foreign = {"object": "refund", "id": "re_x", "payment_intent": "pi_x", "amount": 5, "currency": "usd"}
    deliver_event(world, event(next(numbers), "refund.created", foreign | {"status": "succeeded"}))
    tick(world)
    assert [path for _, path, _, _ in stripe.requests if path == "/v1/refunds"] == []


def test_an_inquiry_that_becomes_a_chargeback_is_booked_when_it_is_updated(world, stripe, numbers):
    (ann, intent), (bob, _) = subscribers(world, stripe)
    dispute = {"object": "dispute", "id": "du_1", "payment_intent": intent["id"], "amount": 1000, "currency": "usd"}
    deliver_event(world, event(next(numbers), "charge.dispute.created", dispute | {"status": "warning_needs_response"}))
    tick(world)
    assert ann.invoices()[0]["status"] == "paid"
    for status in ("needs_response", "under_review"):
        deliver_event(world, event(next(numbers), "charge.dispute.updated", dispute | {"status": status}))
        tick(world)
    assert (ann.invoices()[0]["status"], ann.invoices()[0]["balance_minor"]) == ("open", 1000)
    deliver_event(world, event(next(numbers), "charge.dispute.closed", dispute | {"status": "won"}))
    deliver_event(world, event(next(numbers), "charge.dispute.updated", dispute | {"status": "needs_response"}))
    tick(world)
    assert (ann.invoices()[0]["status"], bob.invoices()[0]["status"]) == ("paid", "paid")


def test_a_dispute_is_booked_though_one_of_another_payment_was_closed_before(world, stripe, numbers):
    """Its amount counts only in the currency of the payment."""
    (ann, intent), (bob, bobs_intent) = subscribers(world, stripe)
    for reference, disputed, kind, amounts in (
        ("du_1", bobs_intent, "closed", {"status": "won", "amount": 1000, "currency": "usd"}),
        ("du_2", intent, "created", {"status": "needs_response", "amount": 400, "currency": "usd"}),
    ):
        dispute = {"object": "dispute", "id": reference, "payment_intent": disputed["id"], **amounts}
        deliver_event(world, event(next(numbers), f"charge.dispute.{kind}", dispute))
        tick(world)
    assert [person.invoices()[0]["balance_minor"] for person in (ann, bob)] == [400, 0]
    reinstated = {"object": "dispute", "id": "du_2", "payment_intent": intent["id"], "status": "won", "amount": 400}
    deliver_event(world, event(next(numbers), "charge.dispute.funds_reinstated", reinstated))
    tick(world)
    assert ann.invoices()[0]["balance_minor"] == 0
    euros = {"object": "dispute", "id": "du_3", "payment_intent": bobs_intent["id"], "amount": 400, "currency": "eur"}
    deliver_event(world, event(next(numbers), "charge.dispute.created", euros | {"status": "needs_response"}))
    tick(world)
    assert bob.invoices()[0]["balance_minor"] == 1000


@pytest.mark.parametrize(("currency", "is_paid"), [("eur", True), ("usd", False)])
def test_a_refund_of_no_payment_of_ours_in_its_currency_is_not_booked(world, stripe, numbers, currency, is_paid):
    [(ann, intent)] = subscribers(world, stripe, 1)
    bob = world.person(card="pm_card_chargeDeclined")
    bob.subscribe(world.plan("q", 1000))
    refunded, person = (intent, ann) if is_paid else (last_intent(stripe), bob)
    before = state_of(person)
    refund = {"object": "refund", "id": "re_x", "payment_intent": refunded["id"], "amount": 400, "currency": currency}
    stripe.refunds["re_x"] = refund | {"status": "succeeded", "created": refunded["created"], "metadata": {}}
    deliver_event(world, event(next(numbers), "refund.created", stripe.refunds["re_x"]))
    tick(world)
    assert state_of(person) == before


def card_of(person):
    [card] = person.get("/v1/payment-methods").json["items"]
    return tuple(card[name] for name in ("last4", "exp_month", "exp_year"))


def last_method(stripe):
    return next(reversed(stripe.methods.values()))


def test_a_card_that_its_bank_replaced_is_updated_and_its_expiry_notice_moves(world, stripe, numbers):
    ann = world.person()
    ann.subscribe(world.plan("p", 1000, interval="year"))
    method = last_method(stripe)
    bob = world.person()
    assert card_of(ann) == ("4242", 1, 2030)
    method["card"] |= {"last4": "1881", "exp_month": 3, "exp_year": 2035}
    for kind in ("automatically_updated", "updated", "automatically_updated"):
        deliver_event(world, event(next(numbers), f"payment_method.{kind}", method))
        tick(world)
    assert (card_of(ann), card_of(bob)) == (("1881", 3, 2035), ("4242", 1, 2030))
    world.go_to("2030-03-01")
    assert [notice for notice in mails_about_expiry(world) if notice["to"] == email_of(ann)] == []


def mails_about_expiry(world):
    return [mail for mail in world.operator.get("/v1/sandbox/emails").json["items"] if mail["kind"] == "card_expiring"]


def email_of(person):
    return person.get("/v1/account").json["email"]


def test_a_card_detached_at_stripe_is_removed(world, stripe, numbers):
    ann, bob = world.person(), world.person()
    method, other = list(stripe.methods.values())
    reported = {**method, "customer": None}
    deliver_event(world, event(next(numbers), "payment_method.detached", reported, customer=method["customer"]))
    tick(world)
    assert card_of(ann), "still attached when we look"
    stripe.detach(method["id"])
    for _ in range(2):
        previous = {"customer": reported["customer"] or other["customer"]}
        deliver_event(world, event(next(numbers), "payment_method.detached", reported, **previous))
        tick(world)
    assert card_of(bob) and card_of(ann), "the event named another customer"
    customer = next(iter(stripe.customers))
    deliver_event(world, event(next(numbers), "payment_method.detached", reported, customer=customer))
    tick(world)
    assert ann.get("/v1/payment-methods").json["items"] == []
    assert ann.subscribe(world.plan("p", 1000)).json["decline_code"] == "payment_method_required"


def test_a_customer_deleted_at_stripe_loses_its_cards_and_is_created_again(world, stripe, numbers):
    ann, bob = world.person(), world.person()
    price = world.plan("p", 1000)
    ann.subscribe(price)
    customer = next(iter(stripe.customers))
    stripe.delete_customer(customer)
    for _ in range(2):
        deliver_event(world, event(next(numbers), "customer.deleted", {"object": "customer", "id": customer}))
        tick(world)
    assert ann.get("/v1/payment-methods").json["items"] == [] and card_of(bob)
    ann.add_card()
    world.go_to("2026-02-16")
    assert (len(stripe.customers), stripe.charged_amounts()) == (2, [1000, 1000])
