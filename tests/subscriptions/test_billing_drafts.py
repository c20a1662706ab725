"""Review of drafts: a renewal's invoice can be inspected for some hours before it is issued and charged."""

import pytest

from streamsvc.models.subscriptions import Invoice
from streamsvc.storage.database import db
from tests.worlds.billing_world import World
from tests.worlds.plans import query_plan
from tests.worlds.scenes import set_scene

DRAFTED, FINAL = "2026-02-15T00:30:00", "2026-02-15T01:00:00"


def build_world(app, with_ann):
    world = World(app)
    if with_ann:
        world.operator.put("/v1/admin/tax-rates/DE", {"percent": 19, "name": "MwSt."})
        world.ann = world.person(country="DE")
        assert world.ann.subscribe(world.plan("p", 3100)).status_code == 201
        world.go_to(DRAFTED)
    return world


@pytest.fixture
def world(app, request, monkeypatch):
    """A world with one hour of review per draft. Every test ends with an audit of the books."""
    monkeypatch.setitem(app.extensions, "settings", app.extensions["settings"].replace(invoice_review_hours=1))
    world = set_scene(app, build_world, "ann" in request.fixturenames)
    yield world
    assert world.differences() == []


@pytest.fixture
def ann(world):
    """A subscriber who pays 31.00 plus 19 % tax each month, and whose second month is a draft now."""
    return world.ann


def post_step(person, what, **body):
    return person.post(f"/v1/subscriptions/{person.subscription()['id']}/{what}", body)


def drafts(world):
    return world.operator.get("/v1/admin/invoices?status=draft").json["items"]


def add_line(world, invoice, amount, **more):
    body = {"amount_minor": amount, "description": "A poster", **more}
    return world.operator.post(f"/v1/admin/invoices/{invoice['id']}/lines", body)


def hold_draft(world, invoice):
    return world.operator.put(f"/v1/admin/invoices/{invoice['id']}/hold")


def release_draft(world, invoice):
    return world.operator.delete(f"/v1/admin/invoices/{invoice['id']}/hold")


def state(invoice):
    return invoice["status"], invoice["number"], invoice["total_minor"], invoice["amount_paid_minor"]


def test_a_renewal_is_a_draft_for_an_hour_and_is_charged_as_previewed_and_drafted(world, ann):
    [draft] = drafts(world)
    assert state(draft) == ("draft", None, 3689, 0)
    assert (draft["finalizes_at"], draft["issued_at"]) == ("2026-02-15T01:00:00Z", None)
    assert (ann.subscription()["status"], ann.subscription()["period"]["start"]) == ("active", "2026-02-15")
    assert ann.post(f"/v1/invoices/{draft['id']}/payments").json["code"] == "invoice_not_open"
    assert (world.charges(), world.differences()) == ([3689], [])
    preview = ann.post("/v1/invoice-previews", {"subscription_id": draft["subscription_id"]}).json
    world.go_to(FINAL)
    final = ann.invoices()[1]
    assert state(final) == ("paid", "2026-000002", 3689, 3689)
    assert (final["lines"], final["issued_at"]) == (draft["lines"], "2026-02-15T01:00:00Z")
    assert (drafts(world), world.charges()) == ([], [3689, 3689])
    world.go_to("2026-03-15T00:30:00")
    assert (preview["due_date"], preview["total_minor"]) == ("2026-03-15", drafts(world)[0]["total_minor"])


def test_a_line_added_to_a_draft_is_taxed_together_with_the_others(world, ann):
    [draft] = drafts(world)
    world.operator.post(f"/v1/admin/accounts/{ann.id}/credits", {"amount_minor": 1000, "currency": "USD"})
    for amount, tax in ((103, "exclusive"), (103, "exclusive"), (119, "inclusive")):
        response = add_line(world, draft, amount, tax=tax)
        assert response.status_code == 201, response.json
    invoice = response.json
    assert [(line["kind"], line["amount_minor"], line["tax_minor"]) for line in invoice["lines"]] == [
        ("charge", 3100, 589),
        ("one_off", 103, 20),
        ("one_off", 103, 19),  # 19 % of 3306 are 628.14, not 629
        ("one_off", 119, 19),
    ]
    assert (invoice["total_minor"], invoice["credit_applied_minor"], invoice["status"]) == (4053, 1000, "draft")
    assert world.differences() == []
    world.go_to(FINAL)
    assert state(ann.invoices()[1]) == ("paid", "2026-000002", 4053, 3053)
    assert add_line(world, draft, 100).json["code"] == "wrong_state"
    revenue = world.operator.get("/v1/admin/reports/revenue?from=2026-01-01&to=2026-03-01").json
    by_tax = [(row["period"], row["revenue_minor"], row["tax_minor"]) for row in revenue["taxes"]]
    assert by_tax == [("2026-01", 3100, 589), ("2026-02", 3406, 647)]


def test_a_coupon_discounts_only_the_period_and_not_an_added_line(world, ann):
    world.operator.put("/v1/admin/coupons/HALF", {"percent_off": 50, "duration": "once"})
    post_step(ann, "coupons", coupon="HALF")
    world.go_to("2026-03-15T00:30:00")
    [draft] = drafts(world)
    invoice = add_line(world, draft, 1000).json
    assert (invoice["discount_minor"], invoice["total_minor"]) == (1550, 1845 + 1000)
    world.go_to("2026-03-15T01:00:00")
    assert ann.invoices()[2]["total_minor"] == 2845
    world.go_to("2026-04-15T01:00:00")
    assert ann.invoices()[3]["total_minor"] == 3689


def test_a_held_draft_waits_and_allows_no_change_but_cancellation(world, ann):
    [draft] = drafts(world)
    assert hold_draft(world, draft).json["finalizes_at"] is None
    world.go_to("2026-02-20T12:00:00")
    assert (world.charges(), len(drafts(world))) == ([3689], 1)
    expensive = world.plan("q", 6200)
    subscription_id = ann.subscription()["id"]
    for response in (
        post_step(ann, "plan-change", price_id=expensive, when="now"),
        post_step(ann, "pause"),
        ann.post("/v1/invoice-previews", {"subscription_id": subscription_id, "price_id": expensive, "when": "now"}),
        world.operator.post(f"/v1/admin/subscriptions/{subscription_id}/transfer", {"account_id": world.person().id}),
    ):
        assert (response.status_code, response.json["code"]) == (409, "wrong_state")
    assert post_step(ann, "cancellation", when="period_end").json["cancel_at"] == "2026-03-15"
    assert release_draft(world, draft).status_code == 200
    world.go_to("2026-02-20T12:00:01")
    assert (world.charges(), state(ann.invoices()[1])[0]) == ([3689, 3689], "paid")
    assert release_draft(world, draft).json["code"] == "wrong_state"


def test_a_change_ends_the_review_and_the_draft_is_charged_before_it(world, ann):
    expensive = world.plan("q", 6200)
    body = {"price_id": expensive, "when": "now"}
    preview = ann.post("/v1/invoice-previews", {"subscription_id": ann.subscription()["id"], **body}).json
    assert len(drafts(world)) == 1  # a preview does not end the review
    world.next_charge("decline")
    assert post_step(ann, "plan-change", **body).status_code == 200  # the renewal was declined, not the change
    renewal, change = ann.invoices()[1:]
    assert (state(renewal)[:2], state(change)[:2]) == (("open", "2026-000002"), ("paid", "2026-000003"))
    assert preview["total_minor"] == change["total_minor"]


def test_canceling_during_the_review_credits_no_more_than_was_paid(world, ann):
    bob = world.person()
    bob.subscribe(ann.subscription()["price"]["id"])
    world.go_to("2026-03-15T00:30:00")
    assert len(drafts(world)) == 2
    for draft in drafts(world):
        hold_draft(world, draft)
    for person, credit in ((ann, "prorated"), (bob, "none")):
        assert post_step(person, "cancellation", when="now", credit=credit).json["status"] == "canceled"
        assert person.get("/v1/account/balance").json["balances"] == []
    used_day_minor = ann.invoices()[2]["balance_minor"]
    assert 0 < used_day_minor < 200
    world.go_to("2026-03-16T00:00:00")
    assert world.charges() == [3689, 3100, 3689, used_day_minor, 3100]
    assert [invoice["status"] for person in (ann, bob) for invoice in person.invoices()] == ["paid"] * 6


def test_a_draft_held_past_the_end_of_its_subscription_is_charged_when_released(world, ann):
    [draft] = drafts(world)
    hold_draft(world, draft)
    post_step(ann, "cancellation", when="period_end")
    world.go_to("2026-03-16T00:00:00")
    assert (ann.subscription()["status"], len(drafts(world))) == ("canceled", 1)
    release_draft(world, draft)
    world.go_to("2026-03-16T00:00:01")
    assert (state(ann.invoices()[1])[0], world.charges()) == ("paid", [3689, 3689])


def test_a_voided_draft_is_not_charged(world, ann):
    [draft] = drafts(world)
    assert world.operator.post(f"/v1/admin/invoices/{draft['id']}/void").json["status"] == "void"
    world.go_to("2026-03-15T01:00:00")
    assert [state(invoice)[:2] for invoice in ann.invoices()[1:]] == [("void", None), ("paid", "2026-000002")]


def test_many_drafts_are_finalized_together_and_declines_enter_dunning(world, ann):
    price = world.operator.client.get("/v1/plans/p").json["prices"][0]["id"]
    people = [world.person() for _ in range(3)]
    for person in people:
        person.subscribe(price, start_date="2026-02-15")
    world.go_to("2026-03-15T00:30:00")
    assert len(drafts(world)) == 4
    world.next_charge("decline")
    world.go_to("2026-03-15T01:00:00")
    assert sorted(person.subscription()["status"] for person in [ann, *people]) == ["active"] * 3 + ["past_due"]
    world.go_to("2026-03-16T00:00:00")
    assert {person.subscription()["status"] for person in people} == {"active"}


def test_listing_drafts_uses_the_index(app, world):
    with app.app_context():
        if db.engine.dialect.name == "sqlite":
            assert "ix_invoices_drafts" in query_plan(Invoice.select_drafts().order_by(Invoice.id.desc()).limit(25))
