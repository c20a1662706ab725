"""Where two things meet that seldom do: voids and credits, ends and payments on their way, money that comes late."""

from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from streamsvc.storage.database import fetch_one
from streamsvc.worker import jobs
from tests.worlds.billing_world import World


@pytest.fixture
def world(app):
    """Every test ends with an audit of the books."""
    world = World(app)
    yield world
    assert world.differences() == []


@pytest.fixture
def price(world):
    return world.plan("p", 3100)


def act(person, what, **body):
    return person.post(f"/v1/subscriptions/{person.subscription()['id']}/{what}", body)


def correct(world, invoice, what, **body):
    return world.operator.post(f"/v1/admin/invoices/{invoice['id']}/{what}", body)


def balance(person):
    return sum(one["amount_minor"] for one in person.get("/v1/account/balance").json["balances"])


def unpaid_renewal(world, price):
    """Somebody whose second month could not be collected."""
    ann = world.person()
    ann.subscribe(price)
    world.next_charge("decline")
    world.go_to("2026-02-15T06:00:00")
    return ann


def test_nothing_is_credited_of_an_invoice_that_was_made_void(world, price):
    ann = unpaid_renewal(world, price)
    assert correct(world, ann.invoices()[1], "void").json["status"] == "void"
    assert act(ann, "cancellation", when="now").json["status"] == "canceled"
    assert balance(ann) == 0


def test_a_plan_change_after_a_void_month_is_charged_in_full(world, price):
    ann = unpaid_renewal(world, price)
    correct(world, ann.invoices()[1], "void")
    act(ann, "plan-change", price_id=world.plan("q", 6200), when="now")
    assert balance(ann) == 0
    assert world.charges() == [3100, 6200]


def test_a_start_whose_payment_is_on_its_way_cannot_be_cancelled_under_it(world, price):
    ann = world.person()
    world.next_charge("error")
    assert ann.subscribe(price).json["status"] == "incomplete"
    answer = act(ann, "cancellation", when="now")
    assert (answer.status_code, answer.json["code"]) == (409, "payment_in_progress")
    world.go_to("2026-01-15T12:01:00")
    assert (ann.subscription()["status"], world.charges()) == ("active", [3100])


def test_full_refund_of_an_invoice_that_credit_paid_in_part(world, price):
    ann = world.person()
    world.operator.post(f"/v1/admin/accounts/{ann.id}/credits", {"amount_minor": 1000, "currency": "USD"})
    ann.subscribe(price)
    given = correct(world, ann.invoices()[0], "refunds")
    assert (given.status_code, given.json.get("amount_minor")) == (201, 2100)
    assert balance(ann) == 1000


def test_chargeback_after_the_rest_was_written_off(world, price):
    ann = world.person()
    ann.subscribe(price)
    invoice = ann.invoices()[0]
    correct(world, invoice, "refunds", amount_minor=1000, credit_note=False)
    act(ann, "cancellation", when="now", credit="none")
    assert ann.invoices()[0]["status"] == "uncollectible"
    assert world.operator.post(f"/v1/sandbox/payments/{invoice['payments'][0]['id']}/dispute").status_code == 200
    assert world.differences() == []
    assert world.operator.delete(f"/v1/sandbox/payments/{invoice['payments'][0]['id']}/dispute").status_code == 200
    assert balance(ann) == 0


def test_what_fell_due_is_billed_before_what_is_asked_however_slow_the_worker(world, price):
    """A change that is declined must not take the renewal with it."""
    dear, ann = world.plan("q", 6200), world.person()
    ann.subscribe(price)
    ann.put(f"/v1/payment-methods/{ann.add_card('pm_card_chargeCustomerFail')}/default")
    world.clock.at = datetime(2026, 2, 15, 0, 0, 5, tzinfo=UTC)
    answer = act(ann, "plan-change", price_id=dear, when="now")
    assert (answer.status_code, answer.json["code"]) == (402, "payment_failed")
    world.go_to("2026-02-15T06:00:00")
    assert ann.lines()[:2] == [
        ("charge", "2026-01-15", "2026-02-15", 3100),
        ("charge", "2026-02-15", "2026-03-15", 3100),
    ]
    assert (ann.invoices()[1]["status"], ann.subscription()["status"]) == ("open", "past_due")
    assert ann.subscription()["price"]["id"] == price


def test_credit_for_an_invoice_whose_money_is_on_its_way_is_not_lost(world, price):
    ann = world.person()
    ann.subscribe(price)
    world.next_charge("error")
    world.go_to("2026-02-15T00:00:00")
    correct(world, ann.invoices()[1], "credit-notes")
    world.go_to("2026-02-15T00:01:00")
    assert (ann.invoices()[1]["status"], balance(ann), world.charges()) == ("paid", 3100, [3100, 3100])


def charge_once(world, person, **more):
    body = {"account_id": person.id, "amount_minor": 1190, "currency": "EUR", "description": "A poster", **more}
    return world.operator.post("/v1/admin/invoices", body)


def test_credit_that_came_while_a_declined_payment_was_under_way_pays_before_the_next_try(world, price):
    ann = world.person()
    ann.subscribe(price)
    world.next_charge("error")
    world.next_charge("decline")
    world.go_to("2026-02-15T00:00:00")
    world.operator.post(f"/v1/admin/accounts/{ann.id}/credits", {"amount_minor": 1000, "currency": "USD"})
    world.go_to("2026-02-16T12:00:00")
    assert (world.charges(), balance(ann)) == ([3100, 2100], 0)


@pytest.mark.parametrize(
    ("credit", "status", "lost", "left"), [(1000, "uncollectible", 2100, 0), (4000, "paid", 0, 900)]
)
def test_what_credit_can_pay_is_not_written_off(world, price, credit, status, lost, left):
    ann = world.person()
    ann.subscribe(price)
    world.next_charge("error")
    world.next_charge("decline")
    world.go_to("2026-02-15T00:00:00")
    world.operator.post(f"/v1/admin/accounts/{ann.id}/credits", {"amount_minor": credit, "currency": "USD"})
    world.go_to("2026-02-15T00:02:00")
    assert correct(world, ann.invoices()[1], "write-off").json["status"] == status
    [noted] = world.operator.get("/v1/admin/audit?action=invoice_written_off").json["items"]
    assert (noted["details"]["amount_minor"], balance(ann)) == (lost, left)


def test_credit_pays_what_a_refund_leaves_owed(world, price):
    """Of 31.00 the account has 10.00 as credit; all of it refunded without a note, 21.00 are owed."""
    ann = world.person()
    ann.subscribe(price)
    invoice = ann.invoices()[0]
    correct(world, invoice, "credit-notes", amount_minor=1000)
    assert balance(ann) == 1000
    correct(world, invoice, "refunds", credit_note=False)
    [invoice] = ann.invoices()
    assert (invoice["status"], invoice["balance_minor"], balance(ann)) == ("open", 2100, 0)


def test_an_operator_charges_for_something_by_itself(world):
    world.operator.put("/v1/admin/tax-rates/DE", {"percent": 19, "name": "MwSt."})
    ann = world.person(country="DE")
    world.operator.post(f"/v1/admin/accounts/{ann.id}/credits", {"amount_minor": 190, "currency": "EUR"})
    answer = charge_once(world, ann)
    assert (answer.status_code, answer.json["status"], answer.json["number"]) == (201, "paid", "2026-000001")
    [line] = answer.json["lines"]
    assert [line[name] for name in ("kind", "description", "amount_minor", "tax_minor")] == [
        "one_off",
        "A poster",
        1190,
        190,
    ]
    assert (answer.json["credit_applied_minor"], world.charges()) == (190, [1000])
    on_top = charge_once(world, ann, tax="exclusive").json
    assert [on_top[name] for name in ("subtotal_minor", "tax_minor", "total_minor")] == [1190, 226, 1416]
    assert "A poster" in ann.get(f"/v1/invoices/{on_top['id']}/html").text
    assert correct(world, on_top, "refunds", amount_minor=416).json["status"] == "succeeded"


def test_a_one_off_charge_that_is_declined_is_tried_again_and_ends_no_subscription(world):
    ann = world.person(country="DE")
    ann.subscribe(world.plan("p", 500, currency="EUR"))
    world.next_charge("decline")
    invoice = charge_once(world, ann).json
    assert (invoice["status"], invoice["next_attempt_on"]) == ("open", "2026-01-16")
    world.next_charge("decline")
    world.go_to("2026-01-16T12:00:00")
    assert (ann.subscription()["status"], ann.invoices()[-1]["next_attempt_on"]) == ("active", "2026-01-18")
    assert ann.post(f"/v1/invoices/{invoice['id']}/payments").status_code == 201
    world.go_to("2026-01-20T12:00:00")
    assert (ann.invoices()[-1]["status"], world.charges()) == ("paid", [500, 1190])
    assert charge_once(world, world.person(country="DE", card=None)).json["status"] == "open"
    world.next_charge("decline")
    charge_once(world, ann)
    ann.add_card()
    assert (ann.invoices()[-1]["status"], world.charges()) == ("paid", [500, 1190, 1190])


@pytest.mark.parametrize("slow", [False, True])
def test_an_end_that_came_during_a_pause_ends_it_at_once(world, price, slow):
    """Of a month that was to end on 15 February, 31 - 5 days are frozen. The job of that day has long run."""
    ann = world.person()
    ann.subscribe(price)
    world.go_to("2026-01-20T12:00:00")
    act(ann, "pause")
    if slow:  # the end is asked for before that day, and nobody comes by on it
        act(ann, "cancellation", when="period_end")
        world.clock.at = datetime(2026, 3, 1, 12, tzinfo=UTC)
        world.go_to("2026-03-01T12:00:00")
    else:
        world.go_to("2026-03-01T12:00:00")
        assert act(ann, "cancellation", when="period_end").json["status"] == "canceled"
    assert (ann.subscription()["status"], balance(ann)) == ("canceled", 2600)


def test_what_is_due_since_a_moment_whose_job_has_run_is_done_at_once(app, monkeypatch, world, price):
    """An operator shortens their patience to a day on which something was tried before."""
    ann = world.person(card="pm_card_chargeCustomerFail")
    ann.subscribe(world.plan("t", 3100, trial_days=1))
    world.go_to("2026-01-20T12:00:00")
    assert ann.subscription()["status"] == "past_due"
    settings = app.extensions["settings"].replace(dunning="retry=1,3 warn=0 suspend=2 cancel=3")
    monkeypatch.setitem(app.extensions, "settings", settings)
    world.operator.post(f"/v1/admin/accounts/{ann.id}/credits", {"amount_minor": 1, "currency": "USD"})
    world.go_to("2026-01-20T12:00:01")
    assert ann.subscription()["status"] == "canceled"


def test_a_decline_code_has_days_of_its_own(app, monkeypatch, world, price):
    settings = app.extensions["settings"].replace(
        dunning="retry=1,3 retry.generic_decline=4 warn=0 suspend=7 cancel=21"
    )
    monkeypatch.setitem(app.extensions, "settings", settings)
    ann = unpaid_renewal(world, price)
    for day, tries in (("2026-02-18", 1), ("2026-02-19", 2)):
        world.go_to(f"{day}T23:00:00")
        assert len(ann.invoices()[-1]["payments"]) == tries


def test_nobody_comes_by_again_and_again_while_a_payer_is_waited_for(app, world, price):
    """The day of the next try has come, and its payment is with the payer's bank: only an answer changes anything."""
    ann = unpaid_renewal(world, price)
    world.go_to("2026-02-15T12:00:00")
    card = ann.post("/v1/payment-methods", {"token": "pm_card_authenticationRequired"}).json["id"]
    [owed] = [one["id"] for one in ann.invoices() if one["status"] == "open"]
    ann.post(f"/v1/invoices/{owed}/payments", {"payment_method_id": card})
    world.clock.at = datetime(2026, 2, 16, 6, tzinfo=UTC)
    with app.app_context():
        before = came_by()
        for _ in range(20):  # a worker is always a little late
            world.clock.advance(seconds=1)
            jobs.run_due_jobs(world.clock.at, max_jobs=1)
        assert came_by() <= before + 2
    assert ann.invoices()[-1]["payments"][-1]["status"] == "requires_action"


def came_by():
    done = sa.select(sa.func.count()).where(jobs.Job.kind == "subscription.due", jobs.Job.done_at.is_not(None))
    return fetch_one(done)[0]
