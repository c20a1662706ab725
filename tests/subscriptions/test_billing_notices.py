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


def test_a_yearly_renewal_is_announced_a_week_ahead_and_a_monthly_one_is_not(world):
    ann = world.person()
    ann.subscribe(world.plan("p", 1000, interval="year"))
    world.go_to("2028-01-16")
    assert [day for day, kind in mails(world) if kind == "renewal_ahead"] == ["2027-01-08", "2028-01-08"]


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
