"""What an account still owes after a write-off: it counts against payouts, gifts and credits for suspended days."""

import pytest

from tests.worlds.billing_world import World

pytestmark = pytest.mark.every_database


@pytest.fixture
def world(app):
    world = World(app)
    yield world
    assert world.differences() == []


def buy_gift(person, amount_minor=20000):
    return person.post("/v1/gift-purchases", {"currency": "USD", "amount_minor": amount_minor})


def pay_out(world, person, **body):
    path = f"/v1/admin/accounts/{person.id}/payouts"
    return world.operator.post(path, {"currency": "USD", "reason": "asked for it"} | body)


def cancel_now(person):
    path = f"/v1/subscriptions/{person.subscription()['id']}/cancellation"
    assert person.post(path, {"when": "now"}).status_code == 200


def credit(person):
    return sum(balance["amount_minor"] for balance in person.balances())


def write_off_a_disputed_gift(world):
    """A subscriber for a year whose gift was redeemed, disputed by the bank, and written off after the dunning."""
    ann, bob = world.person(), world.person(card=None)
    ann.subscribe(world.plan("year", 16999, interval="year"))
    gift = buy_gift(ann).json
    assert bob.post("/v1/gift-redemptions", {"code": gift["code"]}).status_code == 201
    payment = ann.invoices()[-1]["payments"][-1]["id"]
    assert world.operator.post(f"/v1/sandbox/payments/{payment}/dispute", {}).status_code == 200
    world.go_to("2026-02-06T12:00:00+00:00")
    invoice = ann.invoices()[1]
    assert (invoice["status"], ann.subscription()["status"]) == ("uncollectible", "active")
    return ann, invoice


def test_a_debt_that_was_written_off_counts_against_a_payout_until_it_is_paid(world):
    ann, invoice = write_off_a_disputed_gift(world)
    assert credit(ann) == 0  # the days without access were never paid for
    refused = buy_gift(ann, 2500)
    assert (refused.status_code, refused.json["code"]) == (409, "payment_overdue")
    owed = {"id": invoice["id"], "number": invoice["number"], "currency": "USD", "balance_minor": 20000}
    assert refused.json["invoices"] == [owed]
    cancel_now(ann)
    own = credit(ann)
    assert 0 < own < 16999
    for body in ({}, {"amount_minor": 100}):
        refused = pay_out(world, ann, **body)
        assert (refused.status_code, refused.json["code"]) == (409, "credit_not_paid_in")
        assert refused.json["payable_minor"] == 0
    assert world.charges(kind="refund") == []
    forced = pay_out(world, ann, force=True, amount_minor=100).json
    assert (forced["status"], forced["forced_minor"]) == ("paid", 100)
    assert ann.post(f"/v1/invoices/{invoice['id']}/payments").status_code == 201
    assert (pay_out(world, ann).json["amount_minor"], buy_gift(ann, 2500).status_code) == (own - 100, 201)


def test_days_without_access_are_credited_if_the_debt_is_paid_in_time(world):
    ann = world.person()
    ann.subscribe(world.plan("p", 3100))
    for _ in range(20):
        world.next_charge("decline")
    body = {"account_id": ann.id, "amount_minor": 500, "currency": "USD", "description": "A film", "tax": "exclusive"}
    assert world.operator.post("/v1/admin/invoices", body).status_code == 201
    world.go_to("2026-01-25T12:00:00+00:00")
    film = ann.invoices()[1]
    assert (film["status"], ann.subscription()["status"]) == ("open", "past_due")
    assert world.operator.post(f"/v1/admin/invoices/{film['id']}/payments", {}).status_code == 201
    assert [line[1:3] for line in ann.lines() if line[0] == "credit"] == [("2026-01-22", "2026-01-25")]


def test_a_debt_written_off_in_another_currency_stops_a_payout_unless_it_is_forced(world):
    ann, bob = world.person(), world.person()
    price = world.plan("p", 3000)
    for person in (ann, bob):
        person.subscribe(price)
    body = {"account_id": ann.id, "amount_minor": 900, "currency": "EUR", "description": "A film", "tax": "exclusive"}
    world.next_charge("decline")
    invoice = world.operator.post("/v1/admin/invoices", body).json
    assert world.operator.post(f"/v1/admin/invoices/{invoice['id']}/write-off").json["status"] == "uncollectible"
    for person in (ann, bob):
        cancel_now(person)
    assert pay_out(world, bob).status_code == 201
    refused = pay_out(world, ann)
    assert (refused.status_code, refused.json["code"], refused.json["payable_minor"]) == (409, "credit_not_paid_in", 0)
    forced = pay_out(world, ann, force=True, amount_minor=100).json
    assert (forced["status"], forced["forced_minor"]) == ("paid", 100)
    assert ann.post(f"/v1/invoices/{invoice['id']}/payments").status_code == 201
    assert (pay_out(world, ann).json["status"], credit(ann)) == ("paid", 0)
