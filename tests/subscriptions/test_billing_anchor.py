"""Moves of the billing day over HTTP: planned, withdrawn, billed when the bridge begins, and never harmful."""

import pytest

from tests.worlds.billing_world import World


@pytest.fixture
def world(app):
    world = World(app)
    world.go_to("2026-02-01T12:00:00")
    yield world
    assert world.differences() == []


@pytest.fixture
def ann(world):
    return world.person()


def path(person, step):
    return f"/v1/subscriptions/{person.subscription()['id']}/{step}"


def move(person, *anchor):
    return person.put(path(person, "anchor"), dict(zip(("day", "month"), anchor, strict=False)))


def test_a_yearly_customer_who_moves_the_day_is_charged_when_the_bridge_begins(world, ann):
    price = world.plan("p", 36_500, interval="year")
    ann.subscribe(price)
    moved = move(ann, 1, 7).json
    assert moved["pending_anchor"] == {"day": 1, "month": 7, "effective": "2027-02-01", "renews_on": "2027-07-01"}
    assert moved["period"] == {"start": "2026-02-01", "end": "2027-02-01"}
    world.go_to("2027-01-31T12:00:00")
    assert world.charges() == [36_500]
    assert (ann.subscription()["period"], ann.subscription()["status"]) == (moved["period"], "active")
    world.go_to("2027-02-01T12:00:00")
    assert world.charges() == [36_500, 15_000]  # 150 of the 365 days to 1 July
    assert ann.subscription()["period"] == {"start": "2027-02-01", "end": "2027-07-01"}
    assert ann.subscription()["pending_anchor"] is None
    world.go_to("2027-07-01T12:00:00")
    assert ann.subscription()["period"] == {"start": "2027-07-01", "end": "2028-07-01"}


def test_a_declined_bridge_takes_no_paid_day(world, ann):
    ann.subscribe(world.plan("p", 36_500, interval="year"))
    move(ann, 10)
    for _ in range(20):
        world.next_charge("decline")
    world.go_to("2027-01-31T12:00:00")
    assert (ann.subscription()["status"], ann.subscription()["access_until"]) == ("active", None)
    assert world.charges("declined") == []
    world.go_to("2027-02-01T12:00:00")
    overdue = ann.subscription()
    assert (overdue["status"], overdue["past_due_since"]) == ("past_due", "2027-02-01")
    assert overdue["access_until"] == "2027-02-08T00:00:00Z"
    world.go_to("2027-03-01T12:00:00")
    ended = ann.subscription()
    assert (ended["status"], ended["cancel_reason"]) == ("canceled", "payment_failed")


def test_a_planned_move_can_be_withdrawn_until_its_bridge_begins(world, ann):
    bob, price = world.person(), world.plan("p", 2800)
    for person in (ann, bob):
        person.subscribe(price)
    for day in (15, 20):
        assert move(ann, day).status_code == 200
    move(bob, 15)
    withdrawn = ann.delete(path(ann, "anchor"))
    assert (withdrawn.status_code, withdrawn.json["anchor_day"], withdrawn.json["pending_anchor"]) == (200, 1, None)
    assert ann.delete(path(ann, "anchor")).json["code"] == "wrong_state"
    assert bob.subscription()["pending_anchor"]["renews_on"] == "2026-03-15"
    world.go_to("2026-03-01T12:00:00")
    assert ann.lines()[-1] == ("charge", "2026-03-01", "2026-04-01", 2800)
    assert bob.lines()[-1] == ("charge", "2026-03-01", "2026-03-15", 1400)
    assert bob.delete(path(bob, "anchor")).json["code"] == "wrong_state"


def test_only_prices_by_the_year_have_an_anchor_month(world, ann):
    monthly, yearly = world.plan("m", 3100), world.plan("y", 36_500, interval="year")
    refused = ann.subscribe(monthly, anchor_day=1, anchor_month=7)
    assert (refused.status_code, list(refused.json["errors"])) == (422, ["anchor_month"])
    assert list(ann.subscribe(yearly, anchor_month=7).json["errors"]) == ["anchor_month"]
    assert list(ann.subscribe(yearly, anchor_day=1, anchor_month=13).json["errors"]) == ["anchor_month"]
    started = ann.subscribe(yearly, anchor_day=1, anchor_month=7).json
    assert (started["anchor_day"], started["anchor_month"], started["pending_anchor"]) == (1, 7, None)
    assert started["period"] == {"start": "2026-02-01", "end": "2026-07-01"}
    bob = world.person()
    bob.subscribe(monthly)
    assert list(move(bob, 1, 7).json["errors"]) == ["month"]


def test_a_move_is_previewed_as_it_is_billed(world, ann):
    ann.subscribe(world.plan("p", 2800))
    body = {"subscription_id": ann.subscription()["id"], "day": 15}
    preview = ann.post("/v1/invoice-previews", body).json
    assert (preview["total_minor"], preview["due_date"]) == (1400, "2026-03-01")
    assert preview["next_renewal"]["date"] == "2026-03-15"
    assert ann.subscription()["pending_anchor"] is None
    move(ann, 15)
    world.go_to("2026-03-01T12:00:00")
    assert ann.invoices()[-1]["total_minor"] == preview["total_minor"]


def test_a_move_during_the_trial_leads_from_its_end_to_the_new_day(world, ann):
    ann.subscribe(world.plan("p", 2800, trial_days=10))
    moved = move(ann, 15).json
    assert moved["pending_anchor"] == {"day": 15, "month": None, "effective": "2026-02-11", "renews_on": "2026-02-15"}
    assert moved["period"] == {"start": "2026-02-01", "end": "2026-02-11"}
    world.go_to("2026-02-15T12:00:00")
    assert ann.lines()[1:] == [
        ("charge", "2026-02-11", "2026-02-15", 361),
        ("charge", "2026-02-15", "2026-03-15", 2800),
    ]


def test_a_bridge_is_billed_at_the_price_of_a_scheduled_plan(world, ann):
    small, large = world.plan("p", 2800, 5600)
    ann.subscribe(large)
    ann.post(path(ann, "plan-change"), {"price_id": small, "when": "period_end"})
    planned = move(ann, 15).json
    assert (planned["pending_change"]["effective"], planned["pending_anchor"]["effective"]) == ("2026-03-01",) * 2
    world.go_to("2026-03-15T12:00:00")
    assert ann.lines()[1:] == [
        ("charge", "2026-03-01", "2026-03-15", 1400),
        ("charge", "2026-03-15", "2026-04-15", 2800),
    ]


def test_no_anchor_moves_during_a_pause_and_a_planned_one_survives_it(world, ann):
    ann.subscribe(world.plan("p", 2800))
    move(ann, 15)
    ann.post(path(ann, "pause"))
    assert move(ann, 20).json["code"] == "wrong_state"
    world.go_to("2026-02-05T12:00:00")
    resumed = ann.delete(path(ann, "pause")).json
    assert resumed["pending_anchor"] == {"day": 15, "month": None, "effective": "2026-03-04", "renews_on": "2026-03-15"}


def test_a_renewal_notice_names_the_amount_of_the_bridge(world, ann):
    ann.subscribe(world.plan("p", 36_500, interval="year"))
    move(ann, 1, 7)
    world.go_to("2027-01-31T12:00:00")
    notices = [
        mail for mail in world.operator.get("/v1/sandbox/emails").json["items"] if mail["kind"] == "renewal_ahead"
    ]
    assert len(notices) == 1 and "150.00 USD" in notices[0]["text"]


def test_what_changed_before_the_bridge_is_billed_once(world, ann):
    """The booked bridge once counted as billed when the day was moved, so that later changes were billed anew."""
    extra = {"currency": "USD", "amount_minor": 280, "tax": "exclusive"}
    sport = world.operator.put("/v1/admin/plans/sport", {"name": "Sport", "addon": True, "prices": [extra]}).json
    ann.subscribe(world.plan("p", 2800), addons=[sport["prices"][0]["id"]])
    move(ann, 8)
    world.go_to("2026-02-15T12:00:00")
    assert ann.patch(path(ann, "addons/sport"), {"quantity": 2}).status_code == 200
    world.go_to("2026-03-09T12:00:00")
    assert [line for line in ann.lines() if line[1] < "2026-03-01"] == [
        ("charge", "2026-02-01", "2026-03-01", 2800),
        ("charge", "2026-02-01", "2026-03-01", 280),
        ("charge", "2026-02-15", "2026-03-01", 140),
    ]
    assert [line[1:3] for line in ann.lines()[3:]] == [("2026-03-01", "2026-03-08")] * 2 + [
        ("2026-03-08", "2026-04-08")
    ] * 2
