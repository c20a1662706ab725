"""Rare combinations: voids and credits, cancellations and payments in flight, late payments."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Event

import pytest
import sqlalchemy as sa

from streamsvc.gateways.payments.interface import SUCCEEDED, Outcome
from streamsvc.models import Account
from streamsvc.models.subscriptions import Invoice, Payment
from streamsvc.operations.billing.core import charging, payment_outcomes
from streamsvc.storage.database import db, fetch_one, lock_row
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


def post_step(person, what, **body):
    return person.post(f"/v1/subscriptions/{person.subscription()['id']}/{what}", body)


def correct(world, invoice, what, **body):
    return world.operator.post(f"/v1/admin/invoices/{invoice['id']}/{what}", body)


def balance(person):
    return sum(entry["amount_minor"] for entry in person.get("/v1/account/balance").json["balances"])


def unpaid_renewal(world, price):
    """Return a subscriber whose second month could not be collected."""
    ann = world.person()
    ann.subscribe(price)
    world.next_charge("decline")
    world.go_to("2026-02-15T06:00:00")
    return ann


def test_a_void_invoice_is_not_credited(world, price):
    ann = unpaid_renewal(world, price)
    assert correct(world, ann.invoices()[1], "void").json["status"] == "void"
    assert post_step(ann, "cancellation", when="now").json["status"] == "canceled"
    assert balance(ann) == 0


def test_a_plan_change_in_a_voided_month_is_charged_in_full(world, price):
    ann = unpaid_renewal(world, price)
    correct(world, ann.invoices()[1], "void")
    post_step(ann, "plan-change", price_id=world.plan("q", 6200), when="now")
    assert balance(ann) == 0
    assert world.charges() == [3100, 6200]


def test_a_start_cannot_be_canceled_while_its_payment_is_in_flight(world, price):
    ann = world.person()
    world.next_charge("error")
    assert ann.subscribe(price).json["status"] == "incomplete"
    response = post_step(ann, "cancellation", when="now")
    assert (response.status_code, response.json["code"]) == (409, "payment_in_progress")
    world.go_to("2026-01-15T12:01:00")
    assert (ann.subscription()["status"], world.charges()) == ("active", [3100])


def test_an_unknown_outcome_is_looked_up_after_thirty_seconds(world, price):
    ann = world.person()
    world.next_charge("error")
    ann.subscribe(price)
    for moment, charges in (("2026-01-15T12:00:29", []), ("2026-01-15T12:00:30", [3100])):
        world.go_to(moment)
        assert world.charges() == charges


def test_a_full_refund_restores_the_credit_that_paid_part_of_the_invoice(world, price):
    ann = world.person()
    world.operator.post(f"/v1/admin/accounts/{ann.id}/credits", {"amount_minor": 1000, "currency": "USD"})
    ann.subscribe(price)
    refund = correct(world, ann.invoices()[0], "refunds")
    assert (refund.status_code, refund.json.get("amount_minor")) == (201, 2100)
    assert balance(ann) == 1000


def test_a_preview_of_the_renewal_has_every_figure_of_a_draft(world, price):
    world.operator.put("/v1/admin/tax-rates/US", {"percent": 10, "name": "Tax"})
    world.operator.put("/v1/admin/coupons/ten", {"percent_off": 10, "duration": "forever"})
    ann = world.person()
    ann.subscribe(price, coupon="ten")
    preview = ann.post("/v1/invoice-previews", {"subscription_id": ann.subscription()["id"]}).json
    assert preview == {
        **{"number": None, "status": "draft", "currency": "USD", "due_date": "2026-02-15", "carried_over": False},
        "lines": [
            {
                **{"kind": "charge", "description": "P", "price_id": price, "quantity": 1, "cause": "renewal"},
                **{"period": {"start": "2026-02-15", "end": "2026-03-15"}, "days": 28, "full_days": 28},
                **{"amount_minor": 3100, "discount_minor": 310, "tax_minor": 279, "tax_category": "standard"},
            },
            {
                **{"kind": "discount", "description": "Coupon ten", "quantity": 1},
                **{"amount_minor": -310, "discount_minor": 0, "tax_minor": 0},
            },
        ],
        **{"subtotal_minor": 3100, "discount_minor": 310, "tax_minor": 279, "total_minor": 3069, "tax_name": "Tax"},
        "taxes": [{"category": "standard", "name": "Tax", "percent": 10.0, "net_minor": 2790, "tax_minor": 279}],
        **{"reverse_charge": False, "customer_vat_id": None, "credit_applied_minor": 0, "amount_due_minor": 3069},
        **{"amount_paid_minor": 0, "balance_minor": 3069},
        "next_renewal": {"date": "2026-03-15", "total_minor": 3069, "amount_due_minor": 3069},
    }


def test_a_start_that_was_not_paid_for_returns_the_credit_that_it_used(world, price):
    world.operator.put("/v1/admin/tax-rates/US", {"percent": 10, "name": "Tax"})
    ann = world.person(card="pm_card_chargeDeclined")
    world.operator.post(f"/v1/admin/accounts/{ann.id}/credits", {"amount_minor": 1000, "currency": "USD"})
    assert ann.subscribe(price).status_code == 402
    world.go_to(world.clock.at + timedelta(days=2))
    assert (balance(ann), world.charges()) == (1000, [])


def test_a_dispute_after_the_rest_was_written_off(world, price):
    ann = world.person()
    ann.subscribe(price)
    invoice = ann.invoices()[0]
    correct(world, invoice, "refunds", amount_minor=1000, credit_note=False)
    post_step(ann, "cancellation", when="now", credit="none")
    assert correct(world, invoice, "write-off").json["status"] == "uncollectible"
    assert world.operator.post(f"/v1/sandbox/payments/{invoice['payments'][0]['id']}/dispute").status_code == 200
    assert world.differences() == []
    assert world.operator.delete(f"/v1/sandbox/payments/{invoice['payments'][0]['id']}/dispute").status_code == 200
    assert balance(ann) == 0


def test_a_due_renewal_is_billed_before_a_change_even_if_the_worker_is_late(world, price):
    """A declined change must not void the renewal."""
    expensive, ann = world.plan("q", 6200), world.person()
    ann.subscribe(price)
    ann.put(f"/v1/payment-methods/{ann.add_card('pm_card_chargeCustomerFail')}/default")
    world.clock.at = datetime(2026, 2, 15, 0, 0, 5, tzinfo=UTC)
    response = post_step(ann, "plan-change", price_id=expensive, when="now")
    assert (response.status_code, response.json["code"]) == (402, "payment_failed")
    world.go_to("2026-02-15T06:00:00")
    assert ann.lines()[:2] == [
        ("charge", "2026-01-15", "2026-02-15", 3100),
        ("charge", "2026-02-15", "2026-03-15", 3100),
    ]
    assert (ann.invoices()[1]["status"], ann.subscription()["status"]) == ("open", "past_due")
    assert ann.subscription()["price"]["id"] == price


def test_credit_for_an_invoice_with_a_payment_in_flight_is_not_lost(world, price):
    ann = world.person()
    ann.subscribe(price)
    world.next_charge("error")
    world.go_to("2026-02-15T00:00:00")
    correct(world, ann.invoices()[1], "credit-notes")
    world.go_to("2026-02-15T00:01:00")
    assert (ann.invoices()[1]["status"], balance(ann), world.charges()) == ("paid", 3100, [3100, 3100])


def create_one_off_charge(world, person, **more):
    body = {"account_id": person.id, "amount_minor": 1190, "currency": "EUR", "description": "A poster", **more}
    return world.operator.post("/v1/admin/invoices", body)


def test_credit_granted_during_a_declined_payment_applies_before_the_next_attempt(world, price):
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
def test_a_write_off_excludes_what_account_credit_can_pay(world, price, credit, status, lost, left):
    ann = world.person()
    ann.subscribe(price)
    world.next_charge("error")
    world.next_charge("decline")
    world.go_to("2026-02-15T00:00:00")
    world.operator.post(f"/v1/admin/accounts/{ann.id}/credits", {"amount_minor": credit, "currency": "USD"})
    world.go_to("2026-02-15T00:02:00")
    assert correct(world, ann.invoices()[1], "write-off").json["status"] == status
    [event] = world.operator.get("/v1/admin/audit?action=invoice_written_off").json["items"]
    assert (event["details"]["amount_minor"], balance(ann)) == (lost, left)


def test_credit_applies_to_what_a_refund_leaves_owed(world, price):
    """10.00 of 31.00 became account credit; after a refund of everything without a credit note 21.00 are owed."""
    ann = world.person()
    ann.subscribe(price)
    invoice = ann.invoices()[0]
    correct(world, invoice, "credit-notes", amount_minor=1000)
    assert balance(ann) == 1000
    correct(world, invoice, "refunds", credit_note=False)
    [invoice] = ann.invoices()
    assert (invoice["status"], invoice["balance_minor"], balance(ann)) == ("open", 2100, 0)


def test_an_operator_creates_a_one_off_charge(world):
    world.operator.put("/v1/admin/tax-rates/DE", {"percent": 19, "name": "MwSt."})
    ann = world.person(country="DE")
    world.operator.post(f"/v1/admin/accounts/{ann.id}/credits", {"amount_minor": 190, "currency": "EUR"})
    response = create_one_off_charge(world, ann)
    assert (response.status_code, response.json["status"], response.json["number"]) == (201, "paid", "2026-000001")
    [line] = response.json["lines"]
    assert [line[name] for name in ("kind", "description", "amount_minor", "tax_minor")] == [
        "one_off",
        "A poster",
        1190,
        190,
    ]
    assert (response.json["credit_applied_minor"], world.charges()) == (190, [1000])
    exclusive = create_one_off_charge(world, ann, tax="exclusive").json
    assert [exclusive[name] for name in ("subtotal_minor", "tax_minor", "total_minor")] == [1190, 226, 1416]
    assert "A poster" in ann.get(f"/v1/invoices/{exclusive['id']}/html").text
    assert correct(world, exclusive, "refunds", amount_minor=416).json["status"] == "succeeded"


def test_a_declined_one_off_charge_is_retried_and_cancels_no_subscription(world):
    ann = world.person(country="DE")
    ann.subscribe(world.plan("p", 500, currency="EUR"))
    world.next_charge("decline")
    invoice = create_one_off_charge(world, ann).json
    assert (invoice["status"], invoice["next_attempt_on"]) == ("open", "2026-01-16")
    world.next_charge("decline")
    world.go_to("2026-01-16T12:00:00")
    assert (ann.subscription()["status"], ann.invoices()[-1]["next_attempt_on"]) == ("past_due", "2026-01-18")
    assert ann.post(f"/v1/invoices/{invoice['id']}/payments").status_code == 201
    world.go_to("2026-01-20T12:00:00")
    assert (ann.invoices()[-1]["status"], world.charges()) == ("paid", [500, 1190])
    assert create_one_off_charge(world, world.person(country="DE", card=None)).json["status"] == "open"
    world.next_charge("decline")
    create_one_off_charge(world, ann)
    ann.add_card()
    assert (ann.invoices()[-1]["status"], world.charges()) == ("paid", [500, 1190, 1190])


@pytest.mark.parametrize("slow", [False, True])
def test_a_scheduled_end_that_passes_during_a_pause_takes_effect_at_once(world, price, slow):
    """Of a month that would end on 15 February, 31 - 6 days are frozen. The job of that day has run long ago."""
    ann = world.person()
    ann.subscribe(price)
    world.go_to("2026-01-20T12:00:00")
    post_step(ann, "pause")
    if slow:  # the end is requested before that day, and no worker runs on it
        post_step(ann, "cancellation", when="period_end")
        world.clock.at = datetime(2026, 3, 1, 12, tzinfo=UTC)
        world.go_to("2026-03-01T12:00:00")
    else:
        world.go_to("2026-03-01T12:00:00")
        assert post_step(ann, "cancellation", when="period_end").json["status"] == "canceled"
    assert (ann.subscription()["status"], balance(ann)) == ("canceled", 2500)


def test_work_due_since_a_moment_whose_job_has_run_is_done_at_once(app, monkeypatch, world, price):
    """An operator shortens the dunning schedule so that it ends on a day whose job has already run."""
    ann = world.person(card="pm_card_chargeCustomerFail")
    ann.subscribe(world.plan("t", 3100, trial_days=1))
    world.go_to("2026-01-20T12:00:00")
    assert ann.subscription()["status"] == "past_due"
    settings = app.extensions["settings"].replace(dunning="retry=1,3 warn=0 suspend=2 cancel=3")
    monkeypatch.setitem(app.extensions, "settings", settings)
    world.operator.post(f"/v1/admin/accounts/{ann.id}/credits", {"amount_minor": 1, "currency": "USD"})
    world.go_to("2026-01-20T12:00:01")
    assert ann.subscription()["status"] == "canceled"


def test_a_decline_code_has_its_own_retry_days(app, monkeypatch, world, price):
    settings = app.extensions["settings"].replace(
        dunning="retry=1,3 retry.generic_decline=4 warn=0 suspend=7 cancel=21"
    )
    monkeypatch.setitem(app.extensions, "settings", settings)
    ann = unpaid_renewal(world, price)
    for day, tries in (("2026-02-18", 1), ("2026-02-19", 2)):
        world.go_to(f"{day}T23:00:00")
        assert len(ann.invoices()[-1]["payments"]) == tries


def test_no_job_is_repeated_while_a_payment_awaits_authentication(app, world, price):
    """The day of the next attempt has come, but only the bank's response to the last one changes anything."""
    ann = unpaid_renewal(world, price)
    world.go_to("2026-02-15T12:00:00")
    card = ann.post("/v1/payment-methods", {"token": "pm_card_authenticationRequired"}).json["id"]
    [open_invoice_id] = [invoice["id"] for invoice in ann.invoices() if invoice["status"] == "open"]
    ann.post(f"/v1/invoices/{open_invoice_id}/payments", {"payment_method_id": card})
    world.clock.at = datetime(2026, 2, 16, 6, tzinfo=UTC)
    with app.app_context():
        before = count_done_jobs()
        for _ in range(20):  # a worker is always a little late
            world.clock.advance(seconds=1)
            jobs.run_due_jobs(world.clock.at, max_jobs=1)
        assert count_done_jobs() <= before + 2
    assert ann.invoices()[-1]["payments"][-1]["status"] == "requires_action"


def count_done_jobs():
    statement = sa.select(sa.func.count()).where(jobs.Job.kind == "subscription.due", jobs.Job.done_at.is_not(None))
    return fetch_one(statement)[0]


def test_an_outcome_is_booked_after_others_that_hold_the_accounts_lock(app, world, price):
    """A webhook and the request itself report one payment at the same time: it is booked once.

    The first holds the lock while the second arrives, which must then see what the first booked.
    """
    ann = world.person()
    world.next_charge("error")
    created = create_one_off_charge(world, ann)
    [payment] = ann.invoices()[0]["payments"]
    assert (created.status_code, payment["status"]) == (201, "unknown")
    outcome, second = Outcome(SUCCEEDED, "ch_1"), Event()

    def complete():
        with app.app_context():
            second.set()
            charging.complete_payment(payment["id"], outcome, world.clock())

    with app.app_context(), ThreadPoolExecutor(1) as others:
        lock_row(Account, ann.id)
        completed = others.submit(complete)
        second.wait()
        with pytest.raises(TimeoutError):
            completed.result(0.3)
        stored = db.session.get(Payment, payment["id"])
        invoice = db.session.get(Invoice, stored.invoice_id)
        payment_outcomes.book_outcome(stored, invoice, outcome, world.clock(), aggregate=None)
        db.session.commit()
        completed.result(10)
    [invoice] = ann.invoices()
    assert (invoice["status"], invoice["amount_paid_minor"]) == ("paid", invoice["total_minor"])
