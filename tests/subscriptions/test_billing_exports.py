import json

import pytest

from streamsvc.operations.accounts.exports import EXPORTED_COLUMNS, EXPORTED_NAMES, TABLES
from tests.worlds.billing_world import World


@pytest.fixture
def world(app):
    world = World(app)
    yield world
    assert world.differences() == []


@pytest.mark.parametrize("name", ["accounts", "subscriptions", "invoices", "ledger"])
def test_all_data_can_be_exported(world, name):
    ann = world.person()
    ann.subscribe(world.plan("p", 1000))
    response = world.operator.get(f"/v1/admin/exports/{name}.ndjson")
    rows = [json.loads(line) for line in response.text.splitlines()]
    assert rows
    for row in rows:
        columns = EXPORTED_COLUMNS[name].split()
        assert row.keys() - {"lines"} == {EXPORTED_NAMES.get(column, column) for column in columns}
    if name == "invoices":
        assert [line["amount_minor"] for line in rows[0]["lines"]] == [1000]
    assert world.operator.get("/v1/admin/exports/secrets.ndjson").status_code == 404
    assert ann.get(f"/v1/admin/exports/{name}.ndjson").status_code == 401


def test_payouts_and_gift_purchases_are_exported_without_the_codes(world):
    ann, bob = world.person(), world.person()
    price = world.plan("p", 3000)
    for person in (ann, bob):
        person.subscribe(price)
    ann.post(f"/v1/subscriptions/{ann.subscription()['id']}/cancellation", {"when": "now"})
    body = {"currency": "USD", "reason": "moves"}
    payout = world.operator.post(f"/v1/admin/accounts/{ann.id}/payouts", body).json
    other = world.operator.post(f"/v1/admin/accounts/{ann.id}/credits", {"amount_minor": 200, "currency": "USD"})
    assert other.status_code == 201
    forced = {"force": True, "method": "bank_transfer", "reference": "RF18"}
    transfer = world.operator.post(f"/v1/admin/accounts/{ann.id}/payouts", body | forced).json
    gift = bob.post("/v1/gift-purchases", {"price_id": price, "periods": 1, "recipient_email": "a@example.org"}).json

    def export(name):
        text = world.operator.get(f"/v1/admin/exports/{name}.ndjson").text
        assert gift["code"] not in text
        return [json.loads(line) for line in text.splitlines()]

    first, second = export("payouts")
    assert (first["id"], first["paid_minor"], first["bank_transfer_minor"]) == (payout["id"], payout["paid_minor"], 0)
    [refund] = first["refunds"]
    assert (refund["id"], refund["amount_minor"]) == (payout["refunds"][0]["id"], payout["amount_minor"])
    assert (second["id"], second["refunds"], second["forced_minor"]) == (transfer["id"], [], 200)
    [bought] = export("gift-purchases")
    assert (bought["id"], bought["account_id"], bought["recipient_email"]) == (gift["id"], bob.id, "a@example.org")
    assert (bought["periods"], bought["deliver_on"], bought["gift_code_id"][:4]) == (1, "2026-01-15", "gif_")


WITHHELD = {
    "accounts": {"password_hash", "email_key", "restored_status", "store_access"},
    "subscriptions": {"request_key", "device_hash", "open_migrations", "announced_prices"},
    "invoices": set(),
    "ledger": set(),
    "payouts": set(),
    "gift-purchases": set(),
    "store-subscriptions": {"key", "history_revision"},
    "store-payments": set(),
}


@pytest.mark.parametrize("name", TABLES)
def test_every_column_is_exported_or_deliberately_withheld(name):
    assert sorted(column.name for column in TABLES[name].__table__.c) == sorted(
        [*EXPORTED_COLUMNS[name].split(), *WITHHELD[name]]
    )


def test_a_period_paid_for_in_another_system_is_not_charged_again(world):
    """B72: paid in the other system until 10 February; billed here from then on."""
    ann = world.person()
    body = {"account_id": ann.id, "price_id": world.plan("p", 1000), "start_date": "2026-01-10"}
    response = world.operator.post("/v1/admin/subscriptions", {**body, "paid_through": "2026-02-10"})
    assert (response.status_code, response.json["status"]) == (201, "active")
    assert response.json["period"] == {"start": "2026-01-10", "end": "2026-02-10"}
    assert world.charges() == []
    world.go_to("2026-02-10T06:00:00")
    assert ann.lines() == [("charge", "2026-02-10", "2026-03-10", 1000)]


def test_a_period_paid_for_in_another_system_is_not_credited(world):
    small = world.plan("p", 1000)
    ann = world.person()
    body = {"account_id": ann.id, "price_id": small, "start_date": "2026-01-10", "paid_through": "2026-02-10"}
    world.operator.post("/v1/admin/subscriptions", body)
    ann.post(f"/v1/subscriptions/{ann.subscription()['id']}/cancellation", {"when": "now"})
    assert ann.invoices() == []
    assert ann.get("/v1/account/balance").json["balances"] == []
