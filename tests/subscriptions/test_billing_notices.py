import pytest

from tests.worlds.billing_world import World


@pytest.fixture
def world(app):
    world = World(app)
    yield world
    assert world.differences() == []


def mails(world):
    """Return (day, kind) of each mail, oldest first."""
    world.go_to(world.clock.at)
    items = world.operator.get("/v1/sandbox/emails?limit=100").json["items"]
    return sorted((mail["sent_at"][:10], mail["kind"]) for mail in items)


def test_a_trial_reminder_is_sent_three_days_before_the_first_charge(world):
    ann = world.person()
    ann.subscribe(world.plan("p", 1000, trial_days=14))
    world.go_to("2026-02-01")
    assert mails(world) == [("2026-01-26", "trial_ending"), ("2026-01-29", "receipt")]


def test_no_trial_reminder_is_sent_for_a_canceled_trial(world):
    ann = world.person()
    ann.subscribe(world.plan("p", 1000, trial_days=14))
    ann.post(f"/v1/subscriptions/{ann.subscription()['id']}/cancellation", {})
    world.go_to("2026-02-01")
    assert mails(world) == [("2026-01-29", "subscription_ended")]


@pytest.mark.parametrize(
    ("interval", "count", "days"),
    [("year", 1, ["2027-01-08"]), ("month", 6, ["2026-07-08", "2027-01-08"]), ("month", 5, []), ("day", 180, [])],
)
def test_the_renewal_of_half_a_year_or_more_is_announced_a_week_ahead(world, interval, count, days):
    ann = world.person()
    ann.subscribe(world.plan("p", 1000, interval=interval, interval_count=count))
    world.go_to("2027-01-16")
    assert [day for day, kind in mails(world) if kind == "renewal_ahead"] == days


def test_a_failed_payment_and_the_cancellation_are_each_announced_once(world):
    ann = world.person()
    ann.subscribe(world.plan("p", 1000))
    for _ in range(8):
        world.next_charge("decline")
    world.go_to("2026-03-10")
    notices = [mail for mail in mails(world) if mail[1] != "receipt"]
    assert notices == [
        ("2026-02-15", "payment_failed"),
        ("2026-02-22", "payment_overdue"),
        ("2026-03-08", "subscription_ended"),
    ]


def test_a_price_change_is_announced_when_it_is_scheduled(world):
    old, new = world.plan("p", 1000, 1500)
    ann = world.person()
    ann.subscribe(old)
    body = {"from_price_id": old, "to_price_id": new, "effective": "2026-03-01", "notice_days": 30}
    for _ in range(2):
        world.operator.post("/v1/admin/price-migrations", body)
    assert [kind for _, kind in mails(world)].count("price_change") == 1


def test_an_expiring_card_is_announced_only_if_it_pays_for_a_subscription(world):
    """The sandbox's cards expire at the end of December three years on."""
    ann, bob, _ = (world.person() for _ in range(3))
    price = world.plan("p", 1000, interval="year")
    for person in (ann, bob):
        person.subscribe(price)
    bob.add_card()
    bob.delete(f"/v1/payment-methods/{bob.get('/v1/payment-methods').json['items'][1]['id']}")
    world.go_to("2029-12-03T12:00:00")
    mails_sent = [mail for mail in world.operator.get("/v1/sandbox/emails?limit=100").json["items"]]
    expiring = [mail for mail in mails_sent if mail["kind"] == "card_expiring"]
    assert [mail["sent_at"][:10] for mail in expiring] == ["2029-12-02"] * 2
    assert "Visa card ending in 4242" in expiring[0]["text"] and "2029-12" in expiring[0]["text"]


def test_the_end_of_an_addons_trial_is_announced_unless_it_ends_with_the_trial(world):
    """Ann keeps the add-on, Bob removes it, Cid's subscription ends before, Dan's trial is moved by a pause."""
    base, sports = world.plan("base", 3000), world.plan("sports", 600, trial_days=14)
    ann, bob, cid, dan = (world.person() for _ in range(4))
    for person in (ann, bob, cid, dan):
        assert person.subscribe(base).status_code == 201
        added = person.post(own(person, "addons"), {"price_id": sports})
        assert added.json["items"][1]["trial_end"] == "2026-01-29"
    bob.delete(own(bob, "addons/sports?when=period_end"))
    cid.post(own(cid, "cancellation"), {"when": "now", "effective_date": "2026-01-27"})
    world.go_to("2026-01-26T12:00:00")
    dan.post(own(dan, "pause"), {})
    world.go_to("2026-02-14T12:00:00")
    dan.delete(own(dan, "pause"))
    world.go_to("2026-03-20T12:00:00")
    sent = reversed(world.operator.get("/v1/sandbox/emails?limit=100").json["items"])
    reminders = [mail for mail in sent if mail["kind"] == "addon_trial_ending"]
    names = {person.get("/v1/sessions/current").json["account"]["email"]: person for person in (ann, bob, cid, dan)}
    assert {names[mail["to"]] for mail in reminders[:2]} == {ann, dan}
    assert [mail["sent_at"][:10] for mail in reminders] == ["2026-01-26", "2026-01-26", "2026-02-14"]
    assert "Sports ends on 2026-01-29" in reminders[0]["text"]
    assert "On that day 3.29 USD is charged" in reminders[0]["text"], "17 of 31 days"
    assert names[reminders[2]["to"]] is dan, "the pause moved the end of the trial"


def own(person, what):
    return f"/v1/subscriptions/{person.subscription()['id']}/{what}"
