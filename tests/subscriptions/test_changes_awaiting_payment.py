"""Changes that need money take effect once the money is there; until then, and if it never comes, nothing changes."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from streamsvc.gateways.payments.interface import DECLINED, SUCCEEDED, Outcome
from streamsvc.operations.billing.core import charging
from tests.worlds.billing_world import FEATURES, World
from tests.worlds.scenes import set_scene

SLOW_BANK = "pm_card_authenticationRequired"


def build_world(app, with_prices, with_ann):
    world = World(app)
    if with_prices:
        world.go_to("2026-04-01T12:00:00")
        plans = (("basic", 1, 1000), ("premium", 4, 3000), ("sports", 1, 600))
        world.prices = {code: put_plan(world, code, streams, amount) for code, streams, amount in plans}
    world.ann = subscriber(world, world.prices["basic"]) if with_ann else None
    return world


@pytest.fixture
def world(app, request):
    """Every test ends with an audit of the books."""
    world = set_scene(app, build_world, *(name in request.fixturenames for name in ("prices", "ann")))
    yield world
    assert world.differences() == []


@pytest.fixture
def prices(world):
    """The prices of a plan with one stream and of one with four, and of an add-on."""
    return world.prices


def test_a_day_is_not_used_on_the_old_plan_and_credited_for_it(world, prices):
    """A change that credits the old price from tomorrow on must be paid for by midnight."""
    weekly = put_plan(world, "weekly", 2, 700, interval="week")
    eve = subscriber(world, weekly)
    world.go_to("2026-04-01T22:00:00")
    response = act(eve, "plan-change", {"price_id": prices["basic"], "when": "now"})
    assert (response.status_code, has(eve)[1:]) == (402, ("weekly", [], True))
    world.go_to("2026-04-02T00:00:01")
    assert has(eve)[1:] == ("weekly", [], False), "the change is dropped"
    assert authenticate(world, response.json["payment_id"]).status_code == 404


def put_plan(world, code, streams, amount, **terms):
    body = {"name": code.title(), "features": FEATURES | {"max_streams": streams}}
    body["prices"] = [{"currency": "USD", "amount_minor": amount, "tax": "exclusive", **terms}]
    return world.operator.put(f"/v1/admin/plans/{code}", body).json["prices"][0]["id"]


@pytest.fixture
def ann(world, prices):
    """A viewer with the basic plan since noon on 2026-04-01, whose bank asks for every payment since."""
    return world.ann


def subscriber(world, price):
    person = world.person()
    assert person.subscribe(price).status_code == 201
    set_card(person, SLOW_BANK)
    return person


def set_card(person, token):
    person.put(f"/v1/payment-methods/{person.add_card(token)}/default")


def act(person, what, body=None):
    return person.post(f"/v1/subscriptions/{person.subscription()['id']}/{what}", body)


def undo(person, what):
    return person.delete(f"/v1/subscriptions/{person.subscription()['id']}/{what}")


def streams(person):
    return person.get("/v1/sessions/current").json["entitlements"]["max_streams"]


def has(person):
    """Return (streams, plan, add-ons, whether a change waits) as the viewer sees them."""
    subscription = person.subscription()
    addons = [addon["plan"] for addon in subscription["addons"]]
    is_waiting = subscription["change_awaiting_payment"] is not None
    return streams(person), subscription["plan"]["code"], addons, is_waiting


def monthly_revenue(world, month):
    [row] = world.operator.get(f"/v1/admin/reports/revenue?from={month}-01&to={month}-28").json["mrr"]
    return row["closing_minor"]


def waiting_payment(person):
    return person.subscription()["change_awaiting_payment"]["payment_id"]


def authenticate(world, payment_id, approve=True):
    return world.operator.post(f"/v1/sandbox/payments/{payment_id}/authentication", {"approve": approve})


BASIC, WAITING, PREMIUM = (1, "basic", [], False), (1, "basic", [], True), (4, "premium", [], False)


def test_an_upgrade_that_the_bank_asks_about_waits_for_its_payment(world, prices, ann):
    bob = subscriber(world, prices["basic"])
    response = act(ann, "plan-change", {"price_id": prices["premium"]})
    assert (response.status_code, response.json["code"]) == (402, "authentication_required")
    waiting = ann.subscription()["change_awaiting_payment"]
    assert (waiting["price_id"], waiting["payment_id"]) == (prices["premium"], response.json["payment_id"])
    assert ann.get(f"/v1/invoices/{waiting['invoice_id']}").json["number"] is None
    for hours in (0, 11, 22):
        world.go_to(datetime(2026, 4, 1, 12, 59, tzinfo=UTC) + timedelta(hours=hours))
        assert has(ann) == WAITING
    assert authenticate(world, waiting["payment_id"]).status_code == 200
    assert (has(ann), has(bob)) == (PREMIUM, BASIC)
    assert world.charges() == [1000, 1000, 2000]


def test_a_refused_authentication_leaves_the_old_plan(world, prices, ann):
    act(ann, "plan-change", {"price_id": prices["premium"]})
    assert authenticate(world, waiting_payment(ann), approve=False).status_code == 200
    assert (has(ann), world.charges(), ann.invoices()[-1]["status"]) == (BASIC, [1000], "void")


def test_an_upgrade_never_authenticated_gives_nothing_however_often_it_is_tried(world, prices, ann):
    for day in range(2, 6):
        world.go_to(f"2026-04-0{day}T13:00:00")
        assert has(ann) == BASIC
        assert act(ann, "plan-change", {"price_id": prices["premium"]}).status_code == 402
        assert has(ann) == WAITING
    world.go_to("2026-04-06T12:00:00")
    assert (has(ann), world.charges(), ann.balances()) == (BASIC, [1000], [])
    assert ann.subscription()["period"] == {"start": "2026-04-01", "end": "2026-05-01"}


def test_an_addon_waits_for_its_payment(world, prices, ann):
    assert act(ann, "addons", {"price_id": prices["sports"]}).json["code"] == "authentication_required"
    assert ann.subscription()["change_awaiting_payment"]["price_id"] == prices["sports"]
    assert has(ann) == WAITING
    world.go_to("2026-04-02T11:00:00")
    assert (has(ann), world.charges()) == (BASIC, [1000])
    act(ann, "addons", {"price_id": prices["sports"]})
    authenticate(world, waiting_payment(ann))
    assert (has(ann), world.charges()) == ((1, "basic", ["sports"], False), [1000, 580])


@pytest.mark.parametrize("approve", [True, False])
def test_an_upgrade_of_unknown_outcome_waits_until_it_is_known(world, prices, approve):
    ann = world.person()
    ann.subscribe(prices["basic"])
    world.next_charge("error")
    assert act(ann, "plan-change", {"price_id": prices["premium"]}).status_code == 200
    assert has(ann) == WAITING
    if not approve:
        world.next_charge("decline")
    world.go_to("2026-04-01T12:01:00")
    assert (has(ann), world.charges()) == ((PREMIUM, [1000, 2000]) if approve else (BASIC, [1000]))


def test_another_interval_waits_for_its_payment(world, prices, ann):
    yearly = put_plan(world, "yearly", 4, 30_000, interval="year")
    assert act(ann, "plan-change", {"price_id": yearly, "when": "now"}).status_code == 402
    assert (has(ann), ann.subscription()["period"]["end"]) == (WAITING, "2026-05-01")
    authenticate(world, waiting_payment(ann))
    assert (streams(ann), ann.subscription()["period"]["end"]) == (4, "2027-04-01")


def test_a_plan_without_a_trial_waits_for_its_payment_while_the_trial_goes_on(world, prices):
    ann = subscriber(world, put_plan(world, "tried", 1, 1000, trial_days=14))
    world.go_to("2026-04-03T12:00:00")
    assert act(ann, "plan-change", {"price_id": prices["premium"]}).status_code == 402
    subscription = ann.subscription()
    assert (subscription["status"], subscription["trial_end"], streams(ann)) == ("trialing", "2026-04-15", 1)
    authenticate(world, waiting_payment(ann))
    assert (ann.subscription()["status"], streams(ann), world.charges()) == ("active", 4, [3000])


def test_a_resumption_with_nothing_paid_left_waits_for_its_payment(world, prices, ann):
    world.go_to("2026-04-30T12:00:00")
    act(ann, "pause")
    world.go_to("2026-05-10T12:00:00")
    assert undo(ann, "pause").json["code"] == "authentication_required"
    subscription = ann.subscription()
    assert (subscription["status"], subscription["paused_at"]) == ("paused", "2026-04-30T12:00:00Z")
    assert (streams(ann), monthly_revenue(world, "2026-05")) == (0, 0)
    authenticate(world, waiting_payment(ann), approve=False)
    assert (ann.subscription()["status"], world.charges()) == ("paused", [1000])
    assert monthly_revenue(world, "2026-05") == 0
    set_card(ann, "pm_card_visa")
    resumed = undo(ann, "pause").json
    assert (resumed["status"], resumed["paused_at"], resumed["period"]) == (
        "active",
        None,
        {"start": "2026-05-10", "end": "2026-06-10"},
    )
    assert (streams(ann), world.charges()) == (1, [1000, 1000])
    assert monthly_revenue(world, "2026-05") == 1000


def test_a_resumption_that_needs_money_needs_a_card(world, prices, ann):
    world.go_to("2026-04-30T12:00:00")
    act(ann, "pause")
    for card in ann.get("/v1/payment-methods").json["items"]:
        ann.delete(f"/v1/payment-methods/{card['id']}")
    world.go_to("2026-05-10T12:00:00")
    response = undo(ann, "pause")
    assert (response.status_code, response.json["decline_code"]) == (402, "payment_method_required")
    assert ann.subscription()["status"] == "paused"


def test_an_anchor_day_that_comes_with_an_upgrade_waits_with_it(world, prices, ann):
    act(ann, "plan-change", {"price_id": prices["premium"], "anchor_day": 20})
    assert ann.subscription()["anchor_day"] == 1
    authenticate(world, waiting_payment(ann), approve=False)
    world.go_to("2026-05-02T12:00:00")
    assert ann.subscription()["anchor_day"] == 1
    set_card(ann, "pm_card_visa")
    world.go_to("2026-05-03T12:00:00")
    assert act(ann, "plan-change", {"price_id": prices["premium"], "anchor_day": 20}).json["anchor_day"] == 20


def test_an_upgrade_authenticated_the_next_day_counts_from_the_day_of_its_request(world, prices, ann):
    world.go_to("2026-04-15T20:00:00")
    act(ann, "plan-change", {"price_id": prices["premium"]})
    world.go_to("2026-04-16T18:00:00")
    authenticate(world, waiting_payment(ann))
    assert has(ann) == PREMIUM
    assert ann.lines()[1:] == [
        ("credit", "2026-04-15", "2026-05-01", -533),
        ("charge", "2026-04-15", "2026-05-01", 1600),
    ]


def test_an_upgrade_still_waiting_at_the_renewal_is_dropped_for_it(app, world, prices, ann):
    world.go_to("2026-04-30T20:00:00")
    act(ann, "plan-change", {"price_id": prices["premium"]})
    payment_id = waiting_payment(ann)
    world.go_to("2026-05-01T06:00:00")
    assert (has(ann), ann.lines()[-1]) == (BASIC, ("charge", "2026-05-01", "2026-06-01", 1000))
    with app.app_context():  # the payer authenticates all the same
        charging.complete_payment(payment_id, Outcome(SUCCEEDED, "ch_late"), world.clock())
    assert has(ann) == BASIC
    invoice = ann.invoices()[-1]  # what the change would have cost pays part of the renewal
    assert (invoice["credit_applied_minor"], invoice["balance_minor"]) == (67, 933)


def test_an_upgrade_authenticated_before_a_late_worker_sees_the_renewal_takes_effect(world, prices, ann):
    world.go_to("2026-04-30T20:00:00")
    act(ann, "plan-change", {"price_id": prices["premium"]})
    world.clock.at = datetime(2026, 5, 1, 6, tzinfo=UTC)
    authenticate(world, waiting_payment(ann))
    world.go_to("2026-05-01T07:00:00")
    assert has(ann) == PREMIUM
    assert ann.lines()[-1] == ("charge", "2026-05-01", "2026-06-01", 3000)


def test_a_waiting_change_gives_way_to_a_cancellation(world, prices, ann):
    act(ann, "plan-change", {"price_id": prices["premium"]})
    canceled = act(ann, "cancellation", {"when": "now"}).json
    assert (canceled["status"], canceled["change_awaiting_payment"]) == ("canceled", None)
    assert ann.lines()[-1] == ("credit", "2026-04-02", "2026-05-01", -967)


def test_a_waiting_change_cannot_be_kept_by_voiding_its_invoice(world, prices, ann):
    act(ann, "plan-change", {"price_id": prices["premium"]})
    invoice_id = ann.subscription()["change_awaiting_payment"]["invoice_id"]
    for action in ("void", "write-off", "credit-notes"):
        response = world.operator.post(f"/v1/admin/invoices/{invoice_id}/{action}")
        assert (response.status_code, response.json["code"]) == (409, "wrong_state")
    world.go_to("2026-04-02T12:00:00")
    assert has(ann) == BASIC


def test_a_waiting_change_is_paid_with_another_card(world, prices, ann):
    act(ann, "plan-change", {"price_id": prices["premium"]})
    invoice_id = ann.subscription()["change_awaiting_payment"]["invoice_id"]
    good = ann.add_card()
    assert ann.post(f"/v1/invoices/{invoice_id}/payments", {"payment_method_id": good}).status_code == 201
    assert (has(ann), world.charges()) == (PREMIUM, [1000, 2000])


def test_a_preview_and_the_reports_show_what_is_paid_for(world, prices, ann):
    act(ann, "plan-change", {"price_id": prices["premium"]})
    preview = ann.post("/v1/invoice-previews", {"subscription_id": ann.subscription()["id"]}).json
    assert (preview["due_date"], preview["total_minor"]) == ("2026-05-01", 1000)
    [month] = world.operator.get("/v1/admin/reports/revenue?from=2026-04-01&to=2026-04-30").json["mrr"]
    assert (month["new_minor"], month["expansion_minor"]) == (1000, 0)


@pytest.mark.every_database
@pytest.mark.parametrize("outcome", [SUCCEEDED, DECLINED])
def test_an_outcome_and_a_pause_at_the_same_moment_leave_either_plan_and_its_money(app, world, prices, outcome):
    """The pause gives up the waiting change; whichever holds the lock first decides."""
    for _ in range(3):
        ann = subscriber(world, prices["basic"])
        act(ann, "plan-change", {"price_id": prices["premium"]})
        payment_id, subscription_id = waiting_payment(ann), ann.subscription()["id"]

        def complete(payment_id=payment_id):
            with app.app_context():
                charging.complete_payment(payment_id, Outcome(outcome, "ch_1"), world.clock())

        with ThreadPoolExecutor(2) as threads:
            completed = threads.submit(complete)
            paused = threads.submit(ann.post, f"/v1/subscriptions/{subscription_id}/pause")
            completed.result(30)
            assert paused.result(30).status_code == 200
        subscription, credit = ann.subscription(), sum(balance["amount_minor"] for balance in ann.balances())
        assert subscription["change_awaiting_payment"] is None
        results = [("premium", 0), ("basic", 2000)] if outcome == SUCCEEDED else [("basic", 0)]
        assert (subscription["plan"]["code"], credit) in results
