"""Import of another system's subscribers, who are not charged again for periods already paid."""

import json

import pytest

from streamsvc.cli.billing import billing
from tests.worlds.billing_world import FEATURES, World

LINE = {
    "external_id": "old-1",
    "email": "Ann@example.com",
    "country": "US",
    "started_on": "2025-11-20",
    "paid_through": "2026-02-20",
    "price": {"plan": "p", "currency": "USD", "amount_minor": 1000},
    "payment_method": {"reference": "pm_card_visa/old", "brand": "visa", "last4": "4242"},
}


@pytest.fixture
def world(app):
    world = World(app)
    world.plan("p", 1000)
    yield world
    assert world.differences() == []


@pytest.fixture
def import_lines(world, tmp_path):
    """Import these lines and return (exit code, output)."""

    def run(*lines, dry_run=False):
        file = tmp_path / "subscribers.ndjson"
        file.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
        arguments = ["import", str(file), *(["--dry-run"] if dry_run else [])]
        result = world.app.test_cli_runner().invoke(billing, arguments)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.output

    return run


def subscriptions(world, email="Ann@example.com"):
    accounts = world.operator.get(f"/v1/admin/accounts?email={email}").json["items"]
    rows = world.operator.get("/v1/admin/exports/subscriptions.ndjson").text.splitlines()
    account_ids = {account["id"] for account in accounts}
    return [row for row in map(json.loads, rows) if row["account_id"] in account_ids]


def test_an_imported_subscriber_is_first_charged_when_the_paid_period_ends(world, import_lines):
    assert import_lines(LINE) == (0, "1 lines: 1 added, 0 unchanged, 0 rejected\n")
    [row] = subscriptions(world)
    assert (row["status"], row["period_end"], row["anchor_day"]) == ("active", "2026-02-20", None)
    world.go_to("2026-02-19T23:00:00")
    assert world.charges() == []
    world.go_to("2026-03-20T12:00:00")
    assert world.charges() == [1000, 1000]
    assert subscriptions(world)[0]["period_end"] == "2026-04-20"


def test_importing_the_same_file_twice_changes_nothing(world, import_lines):
    import_lines(LINE)
    assert import_lines(LINE) == (0, "1 lines: 0 added, 1 unchanged, 0 rejected\n")
    assert len(subscriptions(world)) == 1


def test_a_byte_order_mark_is_no_part_of_the_first_line(world, import_lines):
    assert import_lines("\ufeff" + json.dumps(LINE)) == (0, "1 lines: 1 added, 0 unchanged, 0 rejected\n")
    assert import_lines(json.dumps(LINE), "\ufeff" + json.dumps(LINE))[0] == 1


def test_a_dry_run_reports_the_same_and_imports_nothing(world, import_lines):
    summary = "1 lines: 1 added, 0 unchanged, 0 rejected (dry run: nothing was imported)\n"
    assert import_lines(LINE, dry_run=True) == (0, summary)
    assert subscriptions(world) == []
    assert import_lines(LINE)[0] == 0


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"paid_through": "2026-01-15"}, "paid_through: invalid"),
        ({"paid_through": "2025-01-01"}, "paid_through: invalid"),
        ({"price": {"plan": "q", "currency": "USD", "amount_minor": 1000}}, "price: invalid"),
        ({"price_id": "pri_1"}, "price: invalid"),
        ({"email": "nobody"}, "email: invalid"),
        ({"card_number": "4242424242424242"}, "card_number: invalid"),
        ({"time_zone": "Mars/Olympus"}, "time_zone: invalid"),
    ],
)
def test_an_invalid_line_is_reported_and_the_others_are_imported(world, import_lines, changes, error):
    exit_code, output = import_lines({**LINE, "external_id": "bad", "email": "bob@example.com", **changes}, LINE)
    assert (exit_code, "1 added, 0 unchanged, 1 rejected" in output, f"line 1 bad: {error}" in output) == (
        1,
        True,
        True,
    ), output


def test_a_line_that_is_not_json_is_reported(import_lines):
    exit_code, output = import_lines("{", "[]", LINE)
    assert (exit_code, "1 added, 0 unchanged, 2 rejected" in output, "line 1 : line: malformed" in output) == (
        1,
        True,
        True,
    ), output


def test_an_existing_subscriber_is_not_subscribed_twice(world, import_lines):
    import_lines(LINE)
    exit_code, output = import_lines({**LINE, "external_id": "old-2"})
    assert (exit_code, "line 1 old-2: email: already_subscribed" in output) == (1, True), output


def test_account_credit_and_a_scheduled_cancellation_are_imported(world, import_lines):
    import_lines(
        {**LINE, "credit_minor": 400},
        {**LINE, "external_id": "old-2", "email": "bob@example.com", "cancel_at_period_end": True},
    )
    world.go_to("2026-02-21T12:00:00")
    assert world.charges() == [600]
    assert subscriptions(world, "bob@example.com")[0]["status"] == "canceled"


def test_an_imported_subscriber_counts_toward_mrr_from_that_day(world, import_lines):
    import_lines(LINE)
    report = world.operator.get("/v1/admin/reports/revenue?from=2026-01-01&to=2026-03-01").json
    assert [(row["new_minor"], row["closing_minor"]) for row in report["mrr"]] == [(1000, 1000), (0, 1000)]


@pytest.mark.parametrize(
    ("rates", "category", "rate_minor"),
    [
        ([], "standard", 1320),
        ([("standard", 20)], "standard", 1100),
        ([("standard", 20), ("reduced", 10)], "standard", 1100),
        ([("standard", 20), ("reduced", 10)], "reduced", 1200),
        ([("standard", 20)], "reduced", 1100),
    ],
)
def test_tax_that_an_imported_price_includes_is_no_part_of_mrr(world, rates, category, rate_minor):
    """At the rate of its category in the account's country, or else at the standard rate."""
    for country, factor in (("US", 1), ("DE", 2)):
        for name, percent in rates:
            body = {"percent": percent * factor, "name": "Tax", "category": name}
            assert world.operator.put(f"/v1/admin/tax-rates/{country}", body).status_code == 200
    price = {"currency": "USD", "amount_minor": 1320, "tax": "inclusive"}
    plan = {"name": "T", "features": FEATURES, "prices": [price], "tax_category": category}
    import_person(world, world.operator.put("/v1/admin/plans/t", plan).json["prices"][0]["id"])
    report = world.operator.get("/v1/admin/reports/revenue?from=2026-01-01&to=2026-02-01").json
    assert [row["new_minor"] for row in report["mrr"]] == [rate_minor]


def import_person(world, price_id):
    """Import a subscription that was paid elsewhere up to 15 February, on 15 January."""
    person = world.person()
    account_id = person.get("/v1/sessions/current").json["account"]["id"]
    body = {"account_id": account_id, "price_id": price_id, "paid_through": "2026-02-15"}
    assert world.operator.post("/v1/admin/subscriptions", body).status_code == 201
    return person


def change(person, price_id):
    path = f"/v1/subscriptions/{person.subscription()['id']}/plan-change"
    response = person.post(path, {"price_id": price_id, "when": "now"})
    assert response.status_code == 200, response.json


def test_a_change_within_imported_time_costs_the_difference_and_returns_no_more_than_that(world):
    """Ann upgrades with 30 of 31 days left, goes back with 25 left and upgrades again with 21 left."""
    basic, premium = world.plan("basic", 1000), world.plan("premium", 3000)
    ann = import_person(world, basic)
    world.go_to("2026-01-16T12:00:00")
    change(ann, premium)
    assert world.charges() == [2903 - 968]
    world.go_to("2026-01-20T12:00:00")
    change(ann, basic)
    assert ann.balances() == [{"currency": "USD", "amount_minor": 1613}]  # 25 of the 30 days of 19.35
    world.go_to("2026-01-25T12:00:00")
    change(ann, premium)
    assert ann.balances() == [{"currency": "USD", "amount_minor": 1613 - (2032 - 677)}]
    world.go_to("2026-02-16T12:00:00")
    assert world.charges() == [1935, 3000 - 258]


def test_imported_time_pays_for_its_days_of_another_interval_and_a_cheaper_plan_costs_nothing(world):
    basic, cheap = world.plan("basic", 1000), world.plan("cheap", 400)
    year = world.plan("annual", 12000, interval="year")
    ann, bob = import_person(world, basic), import_person(world, basic)
    world.go_to("2026-01-16T12:00:00")
    change(ann, cheap)
    assert (world.charges(), ann.balances()) == ([], [])
    change(bob, year)
    assert world.charges() == [12000 - 968]
    world.go_to("2026-02-16T12:00:00")
    assert world.charges() == [11032, 400]
