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


WITHHELD = {
    "accounts": {"password_hash", "email_key", "restored_status"},
    "subscriptions": {"request_key", "device_hash", "open_migrations", "announced_prices"},
    "invoices": set(),
    "ledger": set(),
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
