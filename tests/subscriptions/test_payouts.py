"""Payouts of account credit: back to the payments that brought the money, never more than came in."""

import threading
from datetime import timedelta

import pytest
import sqlalchemy as sa

from streamsvc.gateways.payments.interface import DECLINED, UNKNOWN, Outcome
from streamsvc.gateways.payments.sandbox import SandboxProvider
from streamsvc.models import WebhookEvent
from streamsvc.models.subscriptions import Payout, Refund
from streamsvc.operations.billing.invoices import refunds
from streamsvc.storage.database import db
from tests.worlds.billing_world import World


@pytest.fixture
def world(app):
    return World(app)


@pytest.fixture
def price(world):
    return world.plan("premium", 3000)


def with_credit(world, price, months=1):
    """A customer with 1500 of credit from a subscription that was canceled with half of its last month left."""
    ann = world.person()
    ann.subscribe(price)
    day = {1: "2026-01-29", 2: "2026-02-28"}[months]
    world.go_to(day)
    path = f"/v1/admin/subscriptions/{ann.subscription()['id']}/cancellation"
    assert world.operator.post(path, {"when": "now", "reason": "moves away"}).status_code == 200
    return ann


def pay_out(world, person, key=None, **body):
    body = {"currency": "USD", "reason": "asked for it"} | body
    return world.operator.post(f"/v1/admin/accounts/{person.id}/payouts", body, key=key)


def give(world, person, amount_minor):
    path = f"/v1/admin/accounts/{person.id}/credits"
    assert world.operator.post(path, {"amount_minor": amount_minor, "currency": "USD"}).status_code == 201


def dispute(world, invoice, amount_minor=None):
    body = {"amount_minor": amount_minor} if amount_minor else {}
    response = world.operator.post(f"/v1/sandbox/payments/{invoice['payments'][0]['id']}/dispute", body)
    assert response.status_code in (200, 204)


def credit(person):
    return sum(balance["amount_minor"] for balance in person.balances())


def refunded(world):
    return world.charges(kind="refund")


def code_of(response):
    return response.status_code, response.json["code"]


def events(world):
    with world.app.app_context():
        kinds = sa.select(WebhookEvent.kind).where(WebhookEvent.kind.startswith("payout."))
        return list(db.session.scalars(kinds.order_by(WebhookEvent.id)))


def test_credit_goes_back_to_the_payments_that_brought_it_newest_first(world, price):
    ann, bob = with_credit(world, price, months=2), world.person()
    give(world, bob, 500)
    world.operator.post(f"/v1/admin/invoices/{ann.invoices()[1]['id']}/refunds", {"amount_minor": 100})
    owned = credit(ann)
    assert owned == 1500 and refunded(world) == [100]
    dry = pay_out(world, ann, dry_run=True)
    assert (dry.status_code, dry.json["id"], dry.json["amount_minor"]) == (200, None, owned)
    assert (credit(ann), events(world), world.operator.get("/v1/admin/payouts").json["items"]) == (owned, [], [])
    paid = pay_out(world, ann)
    assert paid.status_code == 201, paid.json
    payout = paid.json
    assert (payout["status"], payout["paid_minor"], payout["bank_transfer_minor"]) == ("paid", owned, 0)
    newest = ann.invoices()[1]["payments"][0]
    assert [(part["payment_id"], part["status"]) for part in payout["refunds"]] == [(newest["id"], "succeeded")]
    assert newest["refunded_minor"] == 100 + owned
    assert (credit(ann), credit(bob), refunded(world), events(world)) == (0, 500, [100, owned], ["payout.paid"])
    assert world.operator.get(f"/v1/admin/payouts/{payout['id']}").json == payout
    [entry] = [item for item in ann.get("/v1/account/balance").json["items"] if item["kind"] == "payout"]
    assert (entry["amount_minor"], world.differences()) == (-owned, [])
    assert code_of(pay_out(world, ann)) == (409, "wrong_state")  # no amount was sent that could be wrong
    assert pay_out(world, ann, amount_minor=1).json["errors"].keys() == {"amount_minor"}


def test_a_part_never_exceeds_what_is_left_of_a_payment_and_the_rest_is_transferred(world, price):
    ann = with_credit(world, price)
    path = f"/v1/admin/invoices/{ann.invoices()[0]['id']}"
    assert world.operator.post(f"{path}/refunds", {"amount_minor": 1000}).status_code == 201
    assert world.operator.post(f"{path}/credit-notes", {"amount_minor": 400}).status_code == 201  # more credit
    owned = credit(ann)
    assert pay_out(world, ann, amount_minor=100, method="bank_transfer", reference="RF18").json["status"] == "paid"
    assert pay_out(world, ann).json["paid_minor"] == owned - 100
    assert refunded(world) == [1000, owned - 100]
    # What is refunded once more is owed again, so that no more money goes back than came in.
    again = world.operator.post(f"{path}/refunds", {"credit_note": False})
    assert again.json["amount_minor"] == 3000 - 1000 - (owned - 100)
    assert (ann.invoices()[0]["status"], sum(refunded(world))) == ("open", 3000)
    assert world.differences() == []


def test_what_the_provider_cannot_refund_is_left_for_a_bank_transfer(world, price):
    ann = world.person(card=None)
    invoice = world.operator.post(
        "/v1/admin/invoices", {"account_id": ann.id, "amount_minor": 2000, "currency": "USD", "description": "A poster"}
    ).json
    path = f"/v1/admin/invoices/{invoice['id']}"
    assert world.operator.post(f"{path}/payments", {"reference": "cash"}).status_code == 201
    assert world.operator.post(f"{path}/credit-notes", {"amount_minor": 1200}).status_code == 201
    assert pay_out(world, ann, method="refund").json["errors"].keys() == {"method"}
    assert pay_out(world, ann, method="refund", amount_minor=1).json["errors"].keys() == {"amount_minor"}
    payout = pay_out(world, ann).json
    assert (payout["status"], payout["bank_transfer_minor"], payout["refunds"]) == ("pending", 1200, [])
    assert (credit(ann), events(world), world.differences()) == (0, [], [])
    path = f"/v1/admin/payouts/{payout['id']}"
    failed = world.operator.patch(path, {"status": "failed"})
    assert (failed.json["status"], failed.json["paid_minor"], credit(ann)) == ("failed", 0, 1200)
    assert code_of(world.operator.patch(path, {"status": "paid"})) == (409, "wrong_state")
    again = pay_out(world, ann).json
    paid = world.operator.patch(f"/v1/admin/payouts/{again['id']}", {"status": "paid", "reference": "RF18 5390"})
    assert (paid.json["status"], paid.json["reference"]) == ("paid", "RF18 5390")
    assert (credit(ann), events(world)) == (0, ["payout.failed", "payout.paid"])
    assert (refunded(world), world.differences()) == ([], [])


def test_given_credit_is_paid_out_only_by_force(world, price):
    ann = with_credit(world, price)
    own = credit(ann)
    give(world, ann, 500)
    gift = world.operator.post("/v1/admin/gift-codes", {"amount_minor": 800, "currency": "USD"}).json
    ann.post("/v1/gift-redemptions", {"code": gift["code"]})
    assert credit(ann) == own + 1300
    refused = pay_out(world, ann, amount_minor=own + 1)
    assert (*code_of(refused), refused.json["payable_minor"]) == (409, "credit_not_paid_in", own)
    assert pay_out(world, ann, amount_minor=own + 1301, force=True).status_code == 422
    assert pay_out(world, ann).json["amount_minor"] == own  # all that came from money
    assert code_of(pay_out(world, ann)) == (409, "credit_not_paid_in")
    assert pay_out(world, ann, force=True, reason="").status_code == 422
    forced = pay_out(world, ann, force=True, method="bank_transfer", reference="RF18").json
    assert (forced["amount_minor"], forced["forced_minor"], credit(ann)) == (1300, 1300, 0)
    assert world.differences() == []


def test_a_gift_does_not_become_money_by_subscribing_with_it_and_canceling(world, price):
    ann = world.person()
    give(world, ann, 3000)
    ann.subscribe(price)
    world.go_to("2026-01-20")
    ann.post(f"/v1/subscriptions/{ann.subscription()['id']}/cancellation", {"when": "now"})
    assert credit(ann) > 2000 and world.charges() == []
    refused = pay_out(world, ann)
    assert (*code_of(refused), refused.json["payable_minor"]) == (409, "credit_not_paid_in", 0)


@pytest.mark.parametrize(("changes_plan", "percent"), [(False, 0), (True, 0), (True, 10)])
def test_a_gift_does_not_become_money_by_transferring_what_it_paid_for(world, price, changes_plan, percent):
    world.operator.put("/v1/admin/tax-rates/US", {"percent": percent, "name": "Tax"})
    ann, bob = world.person(card=None), with_credit(world, price)
    own = credit(bob)
    give(world, ann, 17000 * (100 + percent) // 100)
    yearly, other = world.plan("year", 17000, interval="year"), world.plan("other", 17400, interval="year")
    ann.subscribe(yearly)
    path = f"/v1/admin/subscriptions/{ann.subscription()['id']}"
    assert world.operator.post(f"{path}/transfer", {"account_id": bob.id}).status_code == 200
    mine = f"/v1/subscriptions/{bob.subscription()['id']}"
    if changes_plan:  # the credit of the given days pays for it
        assert bob.post(f"{mine}/plan-change", {"price_id": other, "when": "now"}).status_code == 200
    bob.post(f"{mine}/cancellation", {"when": "now"})
    assert credit(bob) > 16000
    paid = pay_out(world, bob)
    assert (paid.status_code, paid.json["forced_minor"], paid.json["amount_minor"] <= own) == (201, 0, True), paid.json
    refused = pay_out(world, bob)
    assert (*code_of(refused), refused.json["payable_minor"]) == (409, "credit_not_paid_in", 0)
    assert world.differences() == []


def test_a_gift_does_not_become_money_by_paying_for_a_chargeback(world, price):
    ann = with_credit(world, price)
    give(world, ann, 10_000)
    paid_out = pay_out(world, ann, method="bank_transfer", reference="RF18").json["amount_minor"]

    def charged():
        [invoice] = [invoice for invoice in ann.invoices() if invoice["payments"]]
        return invoice

    dispute(world, charged())
    assert (charged()["status"], charged()["balance_minor"]) == ("open", paid_out), "owed in money"
    give(world, ann, 1)
    assert charged()["balance_minor"] == paid_out
    assert world.differences() == []
    paid = ann.post(f"/v1/invoices/{charged()['id']}/payments")
    assert (paid.status_code, charged()["status"]) == (201, "paid"), paid.json
    assert world.differences() == []


def test_credit_repays_what_was_written_off_on_a_void_invoice(world, price):
    """A payment that became credit is charged back when the credit has been spent: later credit makes up for it."""
    ann = world.person()
    ann.subscribe(price)
    world.next_charge("partial")
    ann.post("/v1/gift-purchases", {"currency": "USD", "amount_minor": 2500})
    bought, void = ann.invoices()
    assert (void["status"], credit(ann)) == ("void", 1250)
    dispute(world, bought, 1000)
    assert credit(ann) == 250, "it pays what is owed again"
    dispute(world, void)
    assert credit(ann) == 0
    give(world, ann, 1)
    assert credit(ann) == 0
    world.operator.post(f"/v1/admin/subscriptions/{ann.subscription()['id']}/cancellation", {"when": "now"})
    [returned] = [-invoice["total_minor"] for invoice in ann.invoices() if invoice["total_minor"] < 0]
    assert (credit(ann), world.differences()) == (returned - 999, [])


def test_a_refusal_of_the_provider_gives_the_credit_back(world, price, monkeypatch):
    ann = with_credit(world, price)
    own = credit(ann)
    monkeypatch.setattr(SandboxProvider, "refund", lambda *args: Outcome(DECLINED, "re_1"))
    payout = pay_out(world, ann).json
    assert (payout["status"], payout["paid_minor"], credit(ann)) == ("failed", 0, own)
    assert (payout["refunds"][0]["status"], events(world), world.differences()) == ("failed", ["payout.failed"], [])
    monkeypatch.undo()
    paid = pay_out(world, ann).json
    with world.app.app_context():  # the bank returns it days later
        refunds.record_refund_failure(paid["refunds"][0]["id"], world.clock.at)
    assert (credit(ann), world.operator.get(f"/v1/admin/payouts/{paid['id']}").json["status"]) == (own, "failed")
    assert (ann.invoices()[0]["payments"][0]["refunded_minor"], world.differences()) == (0, [])


def test_an_unknown_outcome_is_a_state_and_is_resolved(world, price, monkeypatch):
    ann = with_credit(world, price)
    own, send = credit(ann), SandboxProvider.refund
    monkeypatch.setattr(SandboxProvider, "refund", lambda *args: (send(*args), Outcome(UNKNOWN))[1])
    monkeypatch.setattr(SandboxProvider, "find_outcome", lambda *args: None)
    payout = pay_out(world, ann).json
    assert (payout["status"], payout["refunds"][0]["status"], credit(ann)) == ("pending", "unknown", 0)
    assert (events(world), world.differences()) == ([], [])
    assert code_of(pay_out(world, ann)) == (409, "wrong_state")  # the credit is gone already
    monkeypatch.undo()
    world.go_to(world.clock.at + timedelta(minutes=2))
    assert world.operator.get(f"/v1/admin/payouts/{payout['id']}").json["status"] == "paid"
    assert (refunded(world), events(world), world.differences()) == ([own], ["payout.paid"], [])


@pytest.mark.every_database
def test_a_payout_is_made_once_for_its_key_and_once_of_many_at_once(world, price):
    ann, bob = with_credit(world, price), world.person()
    own = credit(ann)
    assert world.operator.post(f"/v1/admin/accounts/{ann.id}/payouts", {}, key="x").status_code == 422
    threads = [threading.Thread(target=lambda: pay_out(world, ann)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (credit(ann), refunded(world)) == (0, [own])
    assert code_of(pay_out(world, bob)) == (409, "wrong_state")
    assert (
        world.operator.post("/v1/admin/accounts/acc_x/payouts", {"currency": "USD", "reason": "x"}).status_code == 404
    )
    assert world.differences() == []


def test_payouts_are_listed_and_exported(world, price):
    ann, bob = with_credit(world, price), world.person()
    for amount_minor in (100, 200):
        assert pay_out(world, ann, amount_minor=amount_minor, reason="=1+1").status_code == 201
    give(world, bob, 300)
    pay_out(world, bob, force=True)

    def amounts(query=""):
        items = world.operator.get(f"/v1/admin/payouts?{query}").json["items"]
        return [item["amount_minor"] for item in items]

    assert amounts() == [300, 200, 100]
    assert amounts(f"account_id={ann.id}") == amounts("status=paid") == [200, 100]
    assert amounts("status=pending") == [300]
    table = world.operator.get(f"/v1/admin/payouts?format=csv&account_id={ann.id}")
    assert table.content_type == "text/csv; charset=utf-8"
    header, *rows = table.text.splitlines()
    assert header.startswith("table,id,account_id,status,currency,amount_minor") and len(rows) == 2
    assert "'=1+1" in rows[0] and bob.id not in table.text


def test_a_payout_is_reported_once_its_last_part_is_done(world, price):
    ann = with_credit(world, price)
    give(world, ann, 2000)
    payout = pay_out(world, ann, force=True).json
    rest_minor = payout["bank_transfer_minor"]
    assert (payout["status"], payout["paid_minor"], rest_minor > 0) == ("pending", 3000, True)
    assert events(world) == []
    assert (
        world.operator.patch(f"/v1/admin/payouts/{payout['id']}", {"status": "paid"}).json["paid_minor"]
        == 3000 + rest_minor
    )
    assert (events(world), world.differences()) == (["payout.paid"], [])


@pytest.mark.every_database
@pytest.mark.parametrize(
    ("change", "check", "expected", "found"),
    [
        ({"forced_minor": 0}, "no account gets back more than it paid", 0, -500),
        ({"forced_minor": 499}, "no account gets back more than it paid", -499, -500),
        ({"bank_transfer_minor": 1}, "a payout matches the ledger", 1, 500),
        ({"bank_transfer_status": "failed"}, "a payout matches the ledger", 0, 500),
    ],
)
def test_the_audit_knows_payouts(world, price, change, check, expected, found):
    ann, bob = world.person(), world.person()
    for person in (ann, bob):
        give(world, person, 500)
    payout = pay_out(world, ann, force=True, reference="RF18").json
    pay_out(world, bob, force=True)
    assert world.differences() == []
    with world.app.app_context():
        db.session.execute(sa.update(Payout).where(Payout.id == payout["id"]).values(change))
        db.session.commit()
    subject = payout["id"] if "ledger" in check else ann.id
    assert world.differences() == [(check, subject, expected, found, ann.id)]


@pytest.mark.every_database
def test_a_refund_of_a_payout_that_is_not_booked_is_found(world, price):
    ann = with_credit(world, price)
    payout = pay_out(world, ann).json
    with world.app.app_context():
        db.session.execute(sa.update(Refund).where(Refund.payout_id == payout["id"]).values(status="failed"))
        db.session.commit()
    checks = {difference.check for difference in world.differences()}
    assert {"a payout matches the ledger", "payment cash matches the ledger"} <= checks
