"""After a restore: what Stripe did since the backup is listed, and booked once."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from streamsvc import clock as clocks
from streamsvc.cli.reconciliation import reconcile
from streamsvc.gateways.payments import current_provider
from streamsvc.gateways.payments.interface import ChargeRequest, ProviderUnavailable
from streamsvc.models import Restore
from streamsvc.models.subscriptions import Payment, PaymentMethod
from streamsvc.operations.billing.payments.reconciliation import list_discrepancies
from streamsvc.storage.database import execute_write, fetch_one
from tests.worlds.billing_world import World
from tests.worlds.stripe_server import error_response


@pytest.fixture
def world(app, stripe):
    """A service with a paying subscriber, restored from a backup of an hour ago."""
    world = World(app)
    world.ann = world.person()
    assert world.ann.subscribe(world.plan("p", 1000)).json["status"] == "active"
    with app.app_context():
        taken_at = clocks.wall_time() - timedelta(hours=1)
        execute_write(sa.insert(Restore).values(id="rst_1", taken_at=taken_at, restored_at=clocks.wall_time()))
    yield world
    assert world.differences() == []


def charge(world, key, amount_minor=700, on_session=False):
    """Charge the subscriber at Stripe; the payment was lost in the restore."""
    with world.app.app_context():
        method = fetch_one(sa.select(PaymentMethod.reference).order_by(PaymentMethod.id.desc()))[0]
        request = ChargeRequest(key, method, amount_minor, "USD", on_session, "inv_lost", None)
        return current_provider().charge(request).reference


def describe(world):
    with world.app.app_context():
        return [(d.subject, d.amount_minor, d.what) for d in list_discrepancies(clocks.EPOCH, world.clock())]


def run(world, *arguments):
    return world.app.test_cli_runner().invoke(reconcile, arguments)


def test_nothing_differs_if_nothing_happened(world):
    assert describe(world) == []
    result = run(world, "--release", "nothing happened")
    assert (result.exit_code, "released" in result.output) == (0, True), result.output
    assert "no restore waits" in run(world).output


def test_a_lost_charge_becomes_credit_once_and_pays_the_next_renewal(world, stripe):
    reference = charge(world, "pay_lost", 1000)
    assert describe(world) == [(reference, 1000, "charged, and the payment is lost; it becomes account credit")]
    assert run(world).exit_code == 1
    refused = run(world, "--release", "too early")
    assert (refused.exit_code, "not booked" in refused.output) == (1, True)
    for _ in range(2):
        assert run(world, "--book").exit_code == 0
        assert world.ann.balances() == [{"currency": "USD", "amount_minor": 1000}]
    assert run(world, "--release", "INC-1").exit_code == 0
    world.go_to("2026-02-16")
    assert (stripe.charged_amounts(), world.ann.balances()) == ([1000, 1000], [])


def test_what_was_refunded_of_a_lost_charge_is_no_credit(world, stripe):
    charged, gone = charge(world, "pay_lost"), charge(world, "pay_gone")
    stripe.refund({"payment_intent": charged, "amount": "200"})
    stripe.refund({"payment_intent": gone})
    assert [subject for subject, *_ in describe(world)] == [charged]
    run(world, "--book")
    assert world.ann.balances() == [{"currency": "USD", "amount_minor": 500}]


def test_a_refund_of_a_known_payment_is_booked(world, stripe):
    [intent] = stripe.intents
    for amount_minor, refunded_minor in ((300, 300), (200, 500)):
        refund = stripe.refund({"payment_intent": intent, "amount": str(amount_minor)})
        assert [(subject, amount) for subject, amount, _ in describe(world)] == [(refund["id"], amount_minor)]
        assert run(world, "--book").exit_code == 0
        with world.app.app_context():
            assert fetch_one(sa.select(Payment.refunded_minor))[0] == refunded_minor


def test_an_outcome_that_came_after_the_backup_is_booked(world, stripe):
    bob = world.person()
    world.price = world.plan("q", 500)
    stripe.lose_replies = 2
    bob.subscribe(world.price)
    with world.app.app_context():
        in_flight = fetch_one(sa.select(Payment.id).where(Payment.status.in_(("pending", "unknown"))))
    assert in_flight is not None
    world.clock.advance(minutes=11)
    assert [(s, w) for s, _, w in describe(world)] == [
        (in_flight[0], "unknown in the books, succeeded at the provider")
    ]
    assert run(world, "--book").exit_code == 0
    assert bob.subscription()["status"] == "active"


def test_a_lost_payment_that_waits_for_its_payer_is_canceled(world, stripe):
    world.ann.add_card("pm_card_authenticationRequired")
    reference = charge(world, "pay_waiting", on_session=True)
    assert [subject for subject, *_ in describe(world)] == [reference]
    assert run(world, "--book").exit_code == 0
    assert stripe.intents[reference]["status"] == "canceled"


def test_a_charge_of_an_account_that_is_lost_is_left_to_the_operator(world, stripe):
    charge(world, "pay_lost")
    for intent in stripe.intents.values():
        if intent["metadata"]["payment_id"] == "pay_lost":
            intent["customer"] = "cus_of_nobody"
    assert "refund it there" in describe(world)[0][2]
    assert run(world, "--book").exit_code == 1
    result = run(world, "--release", "refunded in the dashboard")
    assert (result.exit_code, "released" in result.output) == (0, True)


def test_charges_of_others_at_the_same_provider_are_not_ours(world, stripe):
    customer = stripe.create_customer({})["id"]
    stripe.charge({"amount": "900", "currency": "usd", "customer": customer, "metadata[shop]": "other"})
    assert describe(world) == []


def test_nothing_is_released_while_the_provider_is_unavailable(world, stripe):
    stripe.failure = error_response(500, "api_error")
    with world.app.app_context(), pytest.raises(ProviderUnavailable):
        list_discrepancies(clocks.EPOCH, world.clock())
    result = run(world, "--release", "blind")
    assert (result.exit_code, "cannot be reached" in result.output) == (1, True)
    with world.app.app_context():
        assert fetch_one(Restore.select_open())[0] is not None


def test_what_was_charged_before_the_backup_is_not_looked_at(world, stripe):
    charge(world, "pay_old")
    stripe.intents[next(reversed(stripe.intents))]["created"] -= 3 * 3600
    assert "0 differences" in run(world).output
