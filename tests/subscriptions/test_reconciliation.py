"""After a restore: what Stripe did since the backup is listed, and booked once."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from streamsvc import clock as clocks
from streamsvc.cli.reconciliation import reconcile
from streamsvc.gateways.payments import current_provider
from streamsvc.gateways.payments.interface import ChargeRequest, ProviderUnavailable
from streamsvc.models import Restore
from streamsvc.models.subscriptions import Payment, PaymentMethod, ProviderCustomer
from streamsvc.operations.billing.payments.reconciliation import list_discrepancies
from streamsvc.storage.database import execute_write, fetch_one
from tests.worlds.billing_world import World
from tests.worlds.stripe_events import last_intent
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
    stripe.refund({"payment_intent": charged, "amount": "699"})
    stripe.refund({"payment_intent": charged, "amount": "1"})["status"] = "failed"
    stripe.refund({"payment_intent": gone})
    assert describe(world) == [
        (charged, 700, "charged, 699 refunded, and the payment is lost; it becomes account credit")
    ]
    run(world, "--book")
    assert world.ann.balances() == [{"currency": "USD", "amount_minor": 1}]


def test_two_who_book_a_lost_charge_book_it_once(world, stripe):
    charge(world, "pay_lost")
    with world.app.app_context():
        [found] = list_discrepancies(clocks.EPOCH, world.clock())
        for _ in range(2):
            found.book()
    assert world.ann.balances() == [{"currency": "USD", "amount_minor": 700}]


def test_a_lost_charge_pays_what_is_owed(world, stripe):
    charge(world, "pay_lost")
    card_id = world.ann.add_card("pm_card_chargeCustomerFail")
    assert world.ann.put(f"/v1/payment-methods/{card_id}/default").status_code == 200
    poster = {"account_id": world.ann.id, "amount_minor": 600, "currency": "USD", "description": "A poster"}
    assert world.operator.post("/v1/admin/invoices", poster).json["status"] == "open"
    assert run(world, "--book").exit_code == 0
    assert world.ann.invoices()[-1]["status"] == "paid"
    assert world.ann.balances() == [{"currency": "USD", "amount_minor": 100}]


def test_a_lost_charge_that_was_declined_changes_nothing(world, stripe):
    world.ann.add_card("pm_card_chargeCustomerFail")
    reference = charge(world, "pay_declined")
    assert (stripe.intents[reference]["status"], describe(world)) == ("requires_payment_method", [])


def test_a_lost_charge_that_is_being_processed_is_left_until_its_outcome(world, stripe):
    reference = charge(world, "pay_lost")
    stripe.intents[reference]["status"] = "processing"
    expected = (reference, 700, "a payment that is still being processed is lost; look again later")
    assert describe(world) == [expected]
    assert (run(world, "--book").exit_code, world.ann.balances()) == (1, [])


def test_the_payer_of_a_lost_charge_is_found_by_the_method_if_the_customer_is_lost(world, stripe):
    bob = world.person()
    charge(world, "pay_lost")
    with world.app.app_context():
        execute_write(sa.delete(ProviderCustomer))
    run(world, "--book")
    assert (world.ann.balances(), bob.balances()) == ([], [{"currency": "USD", "amount_minor": 700}])


def test_a_refund_of_a_known_payment_is_booked(world, stripe):
    [intent] = stripe.intents
    for amount_minor, refunded_minor in ((300, 300), (200, 500)):
        refund = stripe.refund({"payment_intent": intent, "amount": str(amount_minor)})
        assert [(subject, amount) for subject, amount, _ in describe(world)] == [(refund["id"], amount_minor)]
        assert run(world, "--book").exit_code == 0
        with world.app.app_context():
            assert fetch_one(sa.select(Payment.refunded_minor))[0] == refunded_minor


def test_only_refunds_that_succeeded_at_the_provider_are_booked(world, stripe):
    """Those that failed there are booked as failed if we have them."""
    other = world.person()
    other.subscribe(world.plan("q", 500))
    intent, theirs = stripe.intents
    failed = stripe.refund({"payment_intent": intent, "amount": "100"})
    stripe.refund({"payment_intent": theirs, "amount": "50"})["status"] = None
    stripe.refund({"payment_intent": charge(world, "pay_lost"), "amount": "700"})
    stripe.refunds["re_elsewhere"] = {**failed, "id": "re_elsewhere", "payment_intent": None}
    assert [subject for subject, *_ in describe(world)] == [failed["id"]]
    run(world, "--book")
    failed["status"] = "failed"
    with world.app.app_context():
        payment_id = fetch_one(sa.select(Payment.id).where(Payment.provider_reference == intent))[0]
    what = f"refund of {payment_id} succeeded in the books, failed at the provider"
    assert describe(world) == [(failed["id"], 100, what)]
    assert run(world, "--book").exit_code == 0
    stripe.refund({"payment_intent": intent, "amount": "1000"})["status"] = "failed"
    assert describe(world) == []


def test_our_refunds_are_recognized_by_their_id(world, stripe):
    """The response to a refund of ours was lost, so that the books have no reference of it."""
    stripe.lose_replies = 2
    path = f"/v1/admin/invoices/{world.ann.invoices()[0]['id']}/refunds"
    world.operator.post(path, {"amount_minor": 300})
    [refund] = stripe.refunds.values()
    [(subject, amount_minor, what)] = describe(world)
    assert (subject, amount_minor) == (refund["id"], 300)
    assert what.endswith("unknown in the books, succeeded at the provider")
    assert run(world, "--book").exit_code == 0
    assert world.ann.invoices()[0]["payments"][0]["refunded_minor"] == 300


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


@pytest.mark.parametrize(
    ("approves", "outcome", "status"),
    [(True, "succeeded", "active"), (False, "declined", "canceled"), (None, "declined", "canceled")],
)
def test_a_payment_that_its_payer_authenticated_since_is_booked(world, stripe, approves, outcome, status):
    """Approved or not, or no longer there at all."""
    bob = world.person(card="pm_card_authenticationRequired")
    bob.subscribe(world.plan("q", 500))
    assert describe(world) == []
    intent = last_intent(stripe)
    stripe.failure, stripe.failing_path = error_response(500, "api_error"), f"/v1/payment_intents/{intent['id']}"
    with world.app.app_context(), pytest.raises(ProviderUnavailable):
        list_discrepancies(clocks.EPOCH, world.clock())
    stripe.failure = None
    if approves is None:
        del stripe.intents[intent["id"]]
    else:
        stripe.authenticate(intent, approve=approves)
    what = f"requires_action in the books, {outcome} at the provider"
    assert describe(world) == [(intent["metadata"]["payment_id"], 500, what)]
    assert run(world, "--book").exit_code == 0
    assert bob.subscription()["status"] == status


def test_a_payment_of_another_provider_is_not_looked_up(world, stripe):
    """It was in flight when the provider was replaced."""
    bob = world.person(card="pm_card_authenticationRequired")
    bob.subscribe(world.plan("q", 500))
    stripe.authenticate(last_intent(stripe))
    with world.app.app_context():
        execute_write(sa.update(Payment).where(Payment.account_id == bob.id).values(provider="former"))
    assert describe(world) == []


def test_a_payment_that_failed_before_the_backup_and_succeeded_since_is_booked(world, stripe):
    bob = world.person(card="pm_card_chargeCustomerFail")
    bob.subscribe(world.plan("q", 500))
    intent = last_intent(stripe)
    assert describe(world) == []
    intent["status"] = "succeeded"
    refund = stripe.refund({"payment_intent": intent["id"], "amount": "200"})
    what = "failed in the books, succeeded at the provider"
    assert describe(world) == [(intent["metadata"]["payment_id"], 500, what)]
    assert (run(world, "--book").exit_code, bob.balances()) == (1, [{"currency": "USD", "amount_minor": 500}])
    assert [subject for subject, *_ in describe(world)] == [refund["id"]], "it can be booked only now"
    assert run(world, "--book").exit_code == 0
    assert bob.balances() == [{"currency": "USD", "amount_minor": 300}]


def test_a_lost_payment_that_waits_for_its_payer_is_canceled(world, stripe):
    world.ann.add_card("pm_card_authenticationRequired")
    reference = charge(world, "pay_waiting", on_session=True)
    assert [subject for subject, *_ in describe(world)] == [reference]
    stripe.failure, stripe.failing_path = error_response(500, "api_error"), f"/v1/payment_intents/{reference}"
    assert "could not be booked" in run(world, "--book").output
    stripe.failure = None
    assert run(world, "--book").exit_code == 0
    assert stripe.intents[reference]["status"] == "canceled"


def test_a_charge_of_an_account_that_is_lost_is_left_to_the_operator(world, stripe):
    charge(world, "pay_lost")
    for intent in stripe.intents.values():
        if intent["metadata"]["payment_id"] == "pay_lost":
            lost = intent
    for customer in ("cus_of_nobody", "cus_" + "_" * 6):
        lost["customer"] = customer
        assert "refund it there" in describe(world)[0][2]
    assert run(world, "--book").exit_code == 1
    assert world.ann.balances() == []
    result = run(world, "--release", "refunded in the dashboard")
    assert (result.exit_code, "released" in result.output) == (0, True)


def test_a_charge_of_an_account_that_was_deleted_since_is_left_to_the_operator(world, stripe):
    charge(world, "pay_lost")
    assert world.ann.delete("/v1/account").status_code == 204
    assert "refund it there" in describe(world)[0][2]


def test_a_lost_charge_without_customers_is_found_by_its_method(app):
    """The sandbox has none, and its references are those of methods."""
    world = World(app)
    ann, bob = world.person(), world.person()
    charge(world, "pay_lost")
    with app.app_context():
        [found] = list_discrepancies(clocks.EPOCH, world.clock())
        found.book()
    assert (ann.balances(), bob.balances()) == ([], [{"currency": "USD", "amount_minor": 700}])


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
