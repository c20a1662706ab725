import pytest

from tests.worlds.billing_world import World


@pytest.fixture
def world(app):
    """Every test ends with an audit of the books."""
    world = World(app)
    yield world
    assert world.differences() == []


@pytest.fixture
def ann(world):
    """A viewer with a card, at noon on 2026-04-01."""
    world.go_to("2026-04-01T12:00:00")
    return world.person()


def act(person, what, body=None):
    return person.post(f"/v1/subscriptions/{person.subscription()['id']}/{what}", body)


def undo(person, what):
    return person.delete(f"/v1/subscriptions/{person.subscription()['id']}/{what}")


def preview(person, **body):
    return person.post("/v1/invoice-previews", {"subscription_id": person.subscription()["id"], **body}).json


def line_values(invoice):
    """Return the lines of an invoice or a preview, without their ids."""
    names = ("kind", "description", "price_id", "period", "amount_minor", "tax_minor", "days", "full_days", "cause")
    return [[line[name] for name in names] for line in invoice["lines"]]


def test_an_upgrade_takes_effect_at_once_and_costs_the_difference(world, ann):
    """ST-001."""
    ten, twenty = world.plan("p", 1000, 2000)
    ann.subscribe(ten)
    world.go_to("2026-04-16T08:00:00")
    assert act(ann, "plan-change", {"price_id": twenty}).json["price"]["id"] == twenty
    assert ann.lines()[1:] == [
        ("credit", "2026-04-16", "2026-05-01", -500),
        ("charge", "2026-04-16", "2026-05-01", 1000),
    ]
    assert world.charges() == [1000, 500]


def test_a_declined_change_does_not_end_the_trial(world, ann):
    tried, dear = world.plan("tried", 1000, trial_days=14), world.plan("dear", 2000)
    ann.subscribe(tried)
    world.next_charge("decline")
    world.go_to("2026-04-03T12:00:00")
    assert act(ann, "plan-change", {"price_id": dear}).json["code"] == "payment_failed"
    subscription = ann.subscription()
    assert (subscription["status"], subscription["price"]["id"], subscription["trial_end"]) == (
        "trialing",
        tried,
        "2026-04-15",
    )
    assert act(ann, "plan-change", {"price_id": dear}).json["status"] == "active"
    assert (ann.subscription()["trial_end"], world.charges()) == ("2026-04-03", [2000])


def test_a_downgrade_waits_for_the_end_of_the_period_and_can_be_dropped(world, ann):
    ten, twenty = world.plan("p", 1000, 2000)
    ann.subscribe(twenty)
    pending = act(ann, "plan-change", {"price_id": ten}).json["pending_change"]
    assert pending == {"price_id": ten, "effective": "2026-05-01"}
    assert undo(ann, "plan-change").json["pending_change"] is None
    act(ann, "plan-change", {"price_id": ten})
    world.go_to("2026-05-02")
    assert (world.charges(), ann.subscription()["price"]["id"]) == ([2000, 1000], ten)


def test_a_downgrade_now_leaves_credit_for_later_invoices(world, ann):
    ten, twenty = world.plan("p", 1000, 2000)
    ann.subscribe(twenty)
    world.go_to("2026-04-16T08:00:00")
    changed = act(ann, "plan-change", {"price_id": ten, "when": "now"}).json
    assert (changed["price"]["id"], changed["pending_change"]) == (ten, None)
    assert ann.lines()[1:] == [
        ("credit", "2026-04-17", "2026-05-01", -933),
        ("charge", "2026-04-17", "2026-05-01", 467),
    ]
    assert ann.get("/v1/account/balance").json["balances"] == [{"currency": "USD", "amount_minor": 466}]
    world.go_to("2026-05-02")
    assert world.charges() == [2000, 534]
    assert ann.invoices()[-1]["credit_applied_minor"] == 466


def test_a_declined_change_does_not_take_effect(world, ann):
    ten, twenty = world.plan("p", 1000, 2000)
    ann.subscribe(ten)
    world.go_to("2026-04-16T08:00:00")
    world.next_charge("decline")
    response = act(ann, "plan-change", {"price_id": twenty})
    assert (response.status_code, response.json["code"]) == (402, "payment_failed")
    assert ann.subscription()["price"]["id"] == ten
    assert ann.subscription()["status"] == "active"
    assert ann.invoices()[-1]["status"] == "void"
    assert act(ann, "plan-change", {"price_id": twenty}).status_code == 200
    assert world.charges() == [1000, 500]


def test_other_changes_are_refused_while_a_payment_is_in_flight(world, ann):
    small, middle, large = world.plan("p", 1000, 2000, 3000)
    ann.subscribe(small)
    world.go_to("2026-04-16T08:00:00")
    world.next_charge("error")
    act(ann, "plan-change", {"price_id": middle})
    assert act(ann, "plan-change", {"price_id": large}).json["code"] == "payment_in_progress"
    assert act(ann, "cancellation", {"when": "now"}).json["code"] == "payment_in_progress"
    world.next_charge("decline")
    world.go_to("2026-04-16T08:01:00")
    assert ann.subscription()["price"]["id"] == small
    assert act(ann, "plan-change", {"price_id": large}).status_code == 200


def test_a_change_waiting_for_authentication_is_replaced_by_another(world, ann):
    small, middle, large = world.plan("p", 1000, 2000, 3000)
    ann.subscribe(small)
    card = ann.add_card("pm_card_authenticationRequired")
    ann.put(f"/v1/payment-methods/{card}/default")
    world.go_to("2026-04-16T08:00:00")
    assert act(ann, "plan-change", {"price_id": middle}).json["code"] == "authentication_required"
    ann.put(f"/v1/payment-methods/{ann.add_card()}/default")
    assert act(ann, "plan-change", {"price_id": large}).json["price"]["id"] == large
    assert world.charges() == [1000, 1000]


def test_another_interval_now_starts_a_full_period(world, ann):
    """LG-019 as recommended."""
    monthly, yearly = world.plan("m", 1000), world.plan("y", 12000, interval="year")
    ann.subscribe(monthly)
    world.go_to("2026-04-30T05:00:00")
    act(ann, "plan-change", {"price_id": yearly, "when": "now"})
    assert ann.lines()[1:] == [
        ("credit", "2026-04-30", "2026-05-01", -33),
        ("charge", "2026-04-30", "2027-04-30", 12000),
    ]
    assert ann.subscription()["period"] == {"start": "2026-04-30", "end": "2027-04-30"}


def test_a_preview_equals_the_invoice_that_follows(world, ann):
    ten, twenty = world.plan("p", 1000, 2000)
    expected = ann.post("/v1/invoice-previews", {"price_id": ten}).json
    assert (expected["total_minor"], expected["next_renewal"]["date"]) == (1000, "2026-05-01")
    assert ann.get("/v1/subscriptions").json["items"] == []
    ann.subscribe(ten)
    assert line_values(expected) == line_values(ann.invoices()[-1])
    world.go_to("2026-04-11T08:00:00")
    expected = preview(ann, price_id=twenty)
    act(ann, "plan-change", {"price_id": twenty})
    issued = ann.invoices()[-1]
    for name in ("subtotal_minor", "tax_minor", "total_minor", "amount_due_minor", "credit_applied_minor"):
        assert expected[name] == issued[name]
    assert line_values(expected) == line_values(issued)
    assert expected["next_renewal"] == {"date": "2026-05-01", "total_minor": 2000, "amount_due_minor": 2000}
    assert preview(ann, price_id=ten)["total_minor"] == 1000
    expected = preview(ann)
    world.go_to("2026-05-01T08:00:00")
    assert line_values(expected) == line_values(ann.invoices()[-1])


def test_a_moved_anchor_keeps_what_is_paid_and_bridges_to_the_new_day(world, ann):
    """The first step of KB-019."""
    ann.subscribe(world.plan("p", 3000))
    response = ann.put(f"/v1/subscriptions/{ann.subscription()['id']}/anchor", {"day": 15})
    assert (response.status_code, response.json["anchor_day"]) == (200, 15)
    world.go_to("2026-05-16")
    assert ann.lines() == [
        ("charge", "2026-04-01", "2026-05-01", 3000),
        ("charge", "2026-05-01", "2026-05-15", 1400),
        ("charge", "2026-05-15", "2026-06-15", 3000),
    ]


def test_a_weekly_price_has_no_anchor_day(world, ann):
    ann.subscribe(world.plan("p", 3000))
    weekly = world.plan("w", 900, interval="week")
    response = act(ann, "plan-change", {"price_id": weekly, "when": "now", "anchor_day": 15})
    assert (response.status_code, list(response.json["errors"])) == (422, ["anchor_day"])
    assert act(ann, "plan-change", {"price_id": weekly, "when": "now"}).status_code == 200


def test_canceling_keeps_access_for_the_paid_time(world, ann):
    ann.subscribe(world.plan("p", 1000))
    canceled = act(ann, "cancellation", {"reason": "too expensive"}).json
    assert (canceled["status"], canceled["cancel_at"]) == ("active", "2026-05-01")
    assert canceled["access_until"] == "2026-05-01T00:00:00Z"
    world.go_to("2026-05-01T00:00:00")
    assert ann.subscription()["status"] == "canceled"
    assert world.charges() == [1000]
    assert undo(ann, "cancellation").json["code"] == "wrong_state"


def test_a_cancellation_can_be_undone(world, ann):
    ann.subscribe(world.plan("p", 1000))
    act(ann, "cancellation")
    undone = undo(ann, "cancellation").json
    assert (undone["cancel_at"], undone["access_until"], undone["cancel_reason"]) == (None, None, None)
    world.go_to("2026-05-02")
    assert (ann.subscription()["status"], world.charges()) == ("active", [1000, 1000])


def test_canceling_now_credits_the_days_from_tomorrow(world, ann):
    ann.subscribe(world.plan("p", 3000))
    world.go_to("2026-04-10T08:00:00")
    expected = preview(ann, when="now")
    assert act(ann, "cancellation", {"when": "now"}).json["status"] == "canceled"
    assert ann.lines()[-1] == ("credit", "2026-04-11", "2026-05-01", -2000)
    assert expected["total_minor"] == ann.invoices()[-1]["total_minor"] == -2000
    assert ann.get("/v1/account/balance").json["balances"] == [{"currency": "USD", "amount_minor": 2000}]


def test_canceling_now_without_credit(world, ann):
    ann.subscribe(world.plan("p", 3000))
    act(ann, "cancellation", {"when": "now", "credit": "none"})
    assert len(ann.invoices()) == 1
    assert ann.get("/v1/account/balance").json["balances"] == []


def test_a_day_that_was_watched_is_not_credited(world, ann):
    ann.subscribe(world.plan("p", 3000))
    world.go_to("2026-04-30T08:00:00")
    act(ann, "cancellation", {"when": "now", "effective_date": "2026-04-01"})
    assert ann.subscription()["status"] == "canceled"
    assert ann.lines() == [("charge", "2026-04-01", "2026-05-01", 3000)]


def test_an_operator_can_credit_a_day_that_was_watched(world, ann):
    ann.subscribe(world.plan("p", 3000))
    world.go_to("2026-04-30T08:00:00")
    path = f"/v1/admin/subscriptions/{ann.subscription()['id']}/cancellation"
    world.operator.post(path, {"when": "now", "effective_date": "2026-04-30"})
    assert ann.lines()[-1] == ("credit", "2026-04-30", "2026-05-01", -100)


def test_a_cancellation_on_a_date_charges_up_to_it_and_credits_after_it(world, ann):
    ann.subscribe(world.plan("p", 3100))
    assert act(ann, "cancellation", {"when": "now", "effective_date": "2026-05-11"}).json["cancel_at"] == "2026-05-11"
    world.go_to("2026-05-12")
    assert ann.lines()[1:] == [("charge", "2026-05-01", "2026-05-11", 1000)]
    assert ann.subscription()["status"] == "canceled"


def amounts_of(invoice):
    totals = ("total_minor", "tax_minor", "amount_due_minor", "due_date")
    return [line["amount_minor"] for line in invoice["lines"]] + [invoice[name] for name in totals]


def test_a_preview_of_a_future_end_shows_the_credit_that_follows(world, ann):
    world.operator.put("/v1/admin/tax-rates/US", {"percent": 10, "name": "Tax"})
    price, previews = world.plan("p", 3000), []
    dated = {"when": "now", "effective_date": "2026-04-21"}
    people = {"dated": ann, "rescheduled": world.person(), "uncredited": world.person(), "paused": world.person()}
    for person in people.values():
        person.subscribe(price)
    act(people["rescheduled"], "cancellation", dated)
    act(people["paused"], "pause", {"resumes_at": "2026-04-11"})
    for name, body in (
        ("dated", dated),
        ("rescheduled", {}),
        ("uncredited", {**dated, "credit": "none"}),
        ("paused", dated),
    ):
        previews.append(preview(people[name], **body))
        assert act(people[name], "cancellation", dated | body).json["cancel_at"] == "2026-04-21"
    world.go_to("2026-04-21T00:00:00")
    issued = [person.invoices()[1:] for person in people.values()]
    assert [expected["total_minor"] for expected in previews] == [-1100, -1100, 0, -2090]
    for expected, invoices in zip(previews, issued, strict=True):
        amounts = [amounts_of(invoice) for invoice in invoices]
        assert amounts in ([amounts_of(expected)], [])
        assert bool(amounts) == bool(expected["total_minor"])
        assert expected["next_renewal"] is None


def test_paid_days_are_frozen_by_a_pause(world, ann):
    ann.subscribe(world.plan("p", 3000))
    world.go_to("2026-04-11T08:00:00")
    assert act(ann, "pause", {"resumes_at": "2026-06-01T09:00:00Z"}).json["status"] == "paused"
    world.go_to("2026-06-01T09:00:00")
    resumed = ann.subscription()
    assert (resumed["status"], resumed["period"]["end"]) == ("active", "2026-06-20")
    world.go_to("2026-06-22")
    assert ann.lines()[1:] == [("charge", "2026-06-20", "2026-07-20", 3000)]
    assert world.charges() == [3000, 3000]


def test_a_pause_can_end_on_a_civil_date_of_the_account(world):
    ben = world.person(zone="America/New_York")
    ben.subscribe(world.plan("p", 3000))
    assert act(ben, "pause", {"resumes_at": "2026-04-11"}).json["resumes_at"] == "2026-04-11T04:00:00Z"
    assert act(ben, "pause", {"resumes_at": "2026-04-31"}).status_code == 422


def test_a_pause_can_be_ended_by_hand(world, ann):
    ann.subscribe(world.plan("p", 3000))
    act(ann, "pause")
    world.go_to("2026-04-04T08:00:00")
    assert undo(ann, "pause").json["period"]["end"] == "2026-05-03"
    assert undo(ann, "pause").status_code == 409


def test_an_overdue_invoice_blocks_changes_until_it_is_paid(world, ann):
    ten, twenty = world.plan("p", 1000, 2000)
    ann.subscribe(ten)
    world.next_charge("decline")
    world.go_to("2026-05-01T06:00:00")
    assert act(ann, "plan-change", {"price_id": twenty}).json["code"] == "payment_overdue"
    card = ann.add_card()
    assert ann.subscription()["status"] == "active"
    assert card == ann.invoices()[-1]["payments"][-1]["payment_method_id"]
    assert act(ann, "plan-change", {"price_id": twenty}).status_code == 200


def test_a_card_that_paid_an_overdue_invoice_becomes_the_default(world, ann):
    ann.subscribe(world.plan("p", 1000, trial_days=10))
    bad = ann.add_card("pm_card_chargeCustomerFail")
    ann.put(f"/v1/payment-methods/{bad}/default")
    world.go_to("2026-04-12")
    assert ann.subscription()["status"] == "past_due"
    good = ann.add_card()
    [default] = [card["id"] for card in ann.get("/v1/payment-methods").json["items"] if card["is_default"]]
    assert (default, ann.subscription()["status"]) == (good, "active")


def test_an_unpaid_subscription_loses_access_and_then_ends(world, ann):
    ann.subscribe(world.plan("p", 3100))
    ann.delete(f"/v1/payment-methods/{ann.get('/v1/payment-methods').json['items'][0]['id']}")
    world.go_to("2026-05-08T01:00:00")
    assert ann.subscription()["access_until"] == "2026-05-08T00:00:00Z"
    world.go_to("2026-05-22T01:00:00")
    assert (ann.subscription()["status"], ann.subscription()["cancel_reason"]) == ("canceled", "payment_failed")
    assert ann.lines()[-1] == ("credit", "2026-05-08", "2026-06-01", -2400)
    late = ann.invoices()[1]
    assert (late["status"], late["credit_applied_minor"], late["balance_minor"]) == ("uncollectible", 2400, 0)


@pytest.mark.parametrize(
    ("effective_date", "access_until"),
    [("2026-05-06", "2026-05-06"), (None, "2026-05-08"), ("2026-05-20", "2026-05-08")],
)
def test_access_ends_with_the_cancellation_or_the_suspension_whichever_is_earlier(
    world, ann, effective_date, access_until
):
    ann.subscribe(world.plan("p", 3100))
    ann.put(f"/v1/payment-methods/{ann.add_card('pm_card_chargeDeclined')}/default")
    world.go_to("2026-05-03T06:00:00")
    now = {"when": "now", "effective_date": effective_date, "credit": "none"}
    canceled = act(ann, "cancellation", now if effective_date else {}).json
    assert (canceled["status"], canceled["cancel_at"]) == ("past_due", effective_date or "2026-06-01")
    assert canceled["access_until"] == f"{access_until}T00:00:00Z"


def test_days_without_access_are_credited_when_a_card_works_again(world, ann):
    ann.subscribe(world.plan("p", 3100))
    old = ann.get("/v1/payment-methods").json["items"][0]["id"]
    ann.delete(f"/v1/payment-methods/{old}")
    world.go_to("2026-05-11T01:00:00")
    ann.add_card()
    assert ann.subscription()["status"] == "active"
    assert ann.lines()[-1] == ("credit", "2026-05-08", "2026-05-11", -300)
    world.go_to("2026-06-02")
    assert world.charges() == [3100, 3100, 2800]
