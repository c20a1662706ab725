"""An account's sandbox clock: it runs the billing of one account ahead, and nobody else's."""

from datetime import UTC, datetime, timedelta

import pytest

from streamsvc.blueprints.sandbox.account_clocks import BILLING_PACKAGES
from streamsvc.operations import account_clocks
from tests.worlds.billing_world import World


@pytest.fixture
def world(app):
    world = World(app)
    yield world
    assert world.differences() == []


def path_of(person):
    return f"/v1/sandbox/accounts/{person.id}/clock"


def charged_days(person):
    return [line[1] for line in person.lines() if line[0] == "charge"]


def state_of(person):
    return person.subscription()["status"], person.get("/v1/sessions/current").json["entitlements"]["active"]


def move(world, person, day):
    return world.operator.put(path_of(person), {"now": f"{day}T12:00:00Z"})


def mails_of(world, person):
    email = person.get("/v1/account").json["email"]
    items = world.operator.get(f"/v1/sandbox/emails?to={email}&limit=100").json["items"]
    return [(mail["sent_at"][:10], mail["kind"]) for mail in reversed(items)]


def test_one_account_runs_ahead_through_trial_renewal_and_dunning_while_others_stay(world):
    price = world.plan("p", 1000, trial_days=14)
    ann, bob = world.person(), world.person()
    for person in (ann, bob):
        assert person.subscribe(price).status_code == 201
    world.go_to(world.clock.at)
    response = move(world, ann, "2026-03-01")
    assert response.status_code == 200, response.json
    assert (response.json["now"], response.json["status"]) == ("2026-03-01T12:00:00Z", "ready")
    assert response.json["jobs_run"] > 0
    assert charged_days(ann) == ["2026-01-29", "2026-02-28"]
    assert charged_days(bob) == []
    assert mails_of(world, ann) == [
        ("2026-01-26", "trial_ending"),
        ("2026-01-29", "receipt"),
        ("2026-02-28", "receipt"),
    ]
    assert mails_of(world, bob) == []
    assert ann.subscription()["status"] == "active"
    for _ in range(8):
        world.next_charge("decline")
    move(world, ann, "2026-04-06")  # suspended: access at the account's time, not at the service's
    assert (ann.subscription()["status"], ann.get("/v1/sessions/current").json["entitlements"]["active"]) == (
        "past_due",
        False,
    )
    assert (bob.subscription()["status"], bob.get("/v1/sessions/current").json["entitlements"]["active"]) == (
        "trialing",
        True,
    )
    move(world, ann, "2026-05-01")
    assert ann.subscription()["status"] == "canceled"
    assert mails_of(world, ann)[3:] == [
        ("2026-03-29", "payment_failed"),
        ("2026-04-05", "payment_overdue"),
        ("2026-04-19", "subscription_ended"),
    ]
    world.go_to("2026-01-30")  # the service's own time has only come here
    assert charged_days(bob) == ["2026-01-29"]


def test_requests_about_the_account_run_by_its_clock(world):
    basic, premium = world.plan("basic", 1000), world.plan("premium", 3100)
    ann = world.person()
    ann.subscribe(basic)
    move(world, ann, "2026-03-31")
    subscription = ann.subscription()
    assert subscription["period"] == {"start": "2026-03-15", "end": "2026-04-15"}
    changed = ann.post(f"/v1/subscriptions/{subscription['id']}/plan-change", {"price_id": premium, "when": "now"})
    assert changed.status_code in (200, 201), changed.json
    assert ann.lines()[-1] == ("charge", "2026-03-31", "2026-04-15", 1500)
    operator_view = world.operator.post(
        f"/v1/admin/subscriptions/{subscription['id']}/cancellation", {"when": "now", "credit": "prorated"}
    )
    assert operator_view.status_code in (200, 201), operator_view.json
    assert ann.lines()[-1] == ("credit", "2026-04-01", "2026-04-15", -1400)
    with world.app.app_context():  # what the requests enqueued is due by the account's time
        assert account_clocks.continue_moves(world.clock.at) > 0
        assert account_clocks.continue_moves(world.clock.at) == 0
    assert mails_of(world, ann)[-1] == ("2026-03-31", "subscription_ended")


def test_a_payout_runs_by_the_clock_of_its_account(world):
    ann = world.person()
    ann.subscribe(world.plan("p", 3100))
    move(world, ann, "2026-01-31")
    assert ann.post(f"/v1/subscriptions/{ann.subscription()['id']}/cancellation", {"when": "now"}).status_code == 200
    body = {"currency": "USD", "reason": "asked for it", "method": "bank_transfer"}
    payout = world.operator.post(f"/v1/admin/accounts/{ann.id}/payouts", body).json
    paid = world.operator.patch(f"/v1/admin/payouts/{payout['id']}", {"status": "paid", "reference": "RF18"}).json
    assert (paid["status"], paid["created_at"][:10], paid["settled_at"][:10]) == ("paid", "2026-01-31", "2026-01-31")


def test_a_gift_is_delivered_by_the_clock_of_its_buyer(world):
    ann = world.person()
    world.plan("p", 3100)
    body = {"currency": "USD", "amount_minor": 2500, "deliver_on": "2026-02-14"}
    assert ann.post("/v1/gift-purchases", body).status_code == 201
    move(world, ann, "2026-02-14")
    assert ann.get("/v1/gift-purchases").json["items"][0]["state"] == "delivered"


def test_every_id_in_a_billing_route_leads_to_the_account_whose_clock_counts(world):
    """A new kind of id fails here until it is either owned by an account or listed as nobody's."""
    ann = world.person()
    ann.subscribe(world.plan("p", 3100))
    invoice = ann.invoices()[0]
    note = world.operator.post(f"/v1/admin/invoices/{invoice['id']}/credit-notes", {"amount_minor": 100}).json
    refund = world.operator.post(f"/v1/admin/invoices/{invoice['id']}/refunds", {"amount_minor": 100}).json
    body = {"currency": "USD", "reason": "asked for it", "amount_minor": 50}
    payout = world.operator.post(f"/v1/admin/accounts/{ann.id}/payouts", body).json
    purchase = ann.post("/v1/gift-purchases", {"currency": "USD", "amount_minor": 2500}).json
    ids = {
        "account_id": ann.id,
        "subscription_id": ann.subscription()["id"],
        "invoice_id": invoice["id"],
        "payment_id": invoice["payments"][0]["id"],
        "credit_note_id": note["id"],
        "refund_id": refund["id"],
        "payout_id": payout["id"],
        "purchase_id": purchase["id"],
        "method_id": ann.get("/v1/payment-methods").json["items"][0]["id"],
    }
    nobodys = {"migration_id"}
    named = set()
    for rule in world.app.url_map.iter_rules():
        blueprint = world.app.blueprints.get(rule.endpoint.rpartition(".")[0])
        if blueprint and blueprint.import_name.startswith(BILLING_PACKAGES):
            named |= {name for name in rule.arguments if name.endswith("_id")}
    assert len(named) > 5 and named <= ids.keys() | nobodys, named
    with world.app.app_context():
        assert {name: account_clocks.find_owner(id_) for name, id_ in ids.items()} == dict.fromkeys(ids, ann.id)
        assert account_clocks.find_owner("mig_none") is account_clocks.find_owner("inv_none") is None


@pytest.mark.every_database
def test_a_clock_never_goes_back_and_only_one_move_runs_at_a_time(world):
    ann, bob = world.person(), world.person()
    assert world.operator.get(path_of(ann)).json == {
        "now": "2026-01-15T12:00:00Z",
        "target": "2026-01-15T12:00:00Z",
        "status": "ready",
        "progress_percent": 100,
        "jobs_run": 0,
    }
    assert move(world, ann, "2026-01-14").json["code"] == "clock_moves_forward"
    assert move(world, ann, "2026-02-14").status_code == 200
    assert move(world, ann, "2026-02-13").json["code"] == "clock_moves_forward"
    assert move(world, ann, "2026-02-14").status_code == 200
    with world.app.app_context(), account_clocks._moving(ann.id):
        assert move(world, ann, "2026-03-14").json["code"] == "clock_is_moving"
        assert move(world, bob, "2026-03-14").status_code == 200
    world.go_to("2026-02-20")  # past the clock: the service's time counts
    assert world.operator.get(path_of(ann)).json["now"] == "2026-02-20T00:00:00Z"
    for path in ("/v1/sandbox/accounts/acc_none/clock", path_of(ann).replace("acc_", "acc_0")):
        assert world.operator.get(path).status_code == 404
        assert world.operator.put(path, {"now": "2026-05-01T00:00:00Z"}).status_code == 404


@pytest.mark.every_database
def test_a_long_move_stops_at_its_deadline_and_goes_on_in_the_worker(world):
    ann = world.person()
    ann.subscribe(world.plan("p", 1000, interval="week"))
    to = datetime(2026, 2, 6, 12, tzinfo=UTC)
    with world.app.app_context():
        state = account_clocks.move_account_clock(ann.id, to, world.clock.at, timeout_s=0)
    assert state.is_advancing and state.now < to and state.progress_percent < 100
    shown = world.operator.get(path_of(ann)).json
    assert (shown["status"], shown["target"]) == ("advancing", "2026-02-06T12:00:00Z")
    assert len(ann.invoices()) == 1
    with world.app.app_context():
        assert account_clocks.continue_moves(world.clock.at) > 0
    shown = world.operator.get(path_of(ann)).json
    assert (shown["status"], shown["now"], shown["progress_percent"]) == ("ready", "2026-02-06T12:00:00Z", 100)
    assert len(ann.invoices()) == 4


def test_deleting_a_clock_ends_what_ran_ahead(world):
    price = world.plan("p", 1000)
    ann = world.person()
    ann.subscribe(price)
    assert world.operator.delete(path_of(ann)).status_code == 404
    move(world, ann, "2026-03-31")
    assert world.operator.delete(path_of(ann)).status_code == 204
    assert ann.subscription()["status"] == "canceled"
    assert world.operator.get(path_of(ann)).json["now"] == "2026-01-15T12:00:00Z"
    assert ann.subscribe(price).status_code == 201
    world.go_to(world.clock.at + timedelta(days=32))
    assert [line[1] for line in ann.lines()] == ["2026-01-15", "2026-02-15", "2026-03-15", "2026-01-15", "2026-02-15"]


def test_a_clock_is_deleted_where_no_subscription_lives(world):
    ann = world.person()
    move(world, ann, "2026-03-31")
    assert world.operator.delete(path_of(ann)).status_code == 204
    assert world.operator.get(path_of(ann)).json["now"] == "2026-01-15T12:00:00Z"


def test_a_subscription_is_not_transferred_back_in_time(world):
    ann, bob = world.person(), world.person()
    ann.subscribe(world.plan("p", 1000))
    move(world, ann, "2026-03-31")
    path = f"/v1/admin/subscriptions/{ann.subscription()['id']}/transfer"
    assert world.operator.post(path, {"account_id": bob.id}).json["code"] == "wrong_state"
    move(world, bob, "2026-03-31")
    assert world.operator.post(path, {"account_id": bob.id}).status_code == 200


def test_there_is_no_clock_outside_the_sandbox(new_app, database):
    app = new_app(database, "noclocks", sandbox=False, payment_provider="none")
    rules = {rule.rule for rule in app.url_map.iter_rules()}
    assert not [rule for rule in rules if rule.startswith("/v1/sandbox")]
    assert "account_clock" not in app.extensions
