import pytest

from tests.worlds.billing_world import World


@pytest.fixture
def world(app):
    world = World(app)
    yield world
    assert world.differences() == []


def mails(world):
    """(day, kind) of each mail, oldest first."""
    world.go_to(world.clock.at)
    items = world.operator.get("/v1/sandbox/emails?limit=100").json["items"]
    return sorted((one["sent_at"][:10], one["kind"]) for one in items)


def test_a_trial_is_told_of_three_days_before_it_costs(world):
    ann = world.person()
    ann.subscribe(world.plan("p", 1000, trial_days=14))
    world.go_to("2026-02-01")
    assert mails(world) == [("2026-01-26", "trial_ending"), ("2026-01-29", "receipt")]


def test_a_trial_that_will_not_go_on_is_not_told_of(world):
    ann = world.person()
    ann.subscribe(world.plan("p", 1000, trial_days=14))
    ann.post(f"/v1/subscriptions/{ann.subscription()['id']}/cancellation", {})
    world.go_to("2026-02-01")
    assert mails(world) == [("2026-01-29", "subscription_ended")]


def test_a_years_renewal_is_told_of_a_week_before_and_a_months_is_not(world):
    ann = world.person()
    ann.subscribe(world.plan("p", 1000, interval="year"))
    world.go_to("2028-01-16")
    assert [day for day, kind in mails(world) if kind == "renewal_ahead"] == ["2027-01-08", "2028-01-08"]


def test_a_failed_payment_is_told_once_and_the_end_too(world):
    ann = world.person()
    ann.subscribe(world.plan("p", 1000))
    for _ in range(8):
        world.next_charge("decline")
    world.go_to("2026-03-10")
    told = [one for one in mails(world) if one[1] != "receipt"]
    assert told == [("2026-02-15", "payment_failed"), ("2026-03-08", "subscription_ended")]


def test_a_price_change_is_told_when_it_is_planned(world):
    old, new = world.plan("p", 1000, 1500)
    ann = world.person()
    ann.subscribe(old)
    body = {"from_price_id": old, "to_price_id": new, "effective": "2026-03-01", "notice_days": 30}
    for _ in range(2):
        world.operator.post("/v1/admin/price-migrations", body)
    assert [kind for _, kind in mails(world)].count("price_change") == 1


def test_a_card_that_expires_is_told_of_while_it_pays_for_something(world):
    """The sandbox's cards expire at the end of December three years on."""
    ann, bob, _ = (world.person() for _ in range(3))
    price = world.plan("p", 1000, interval="year")
    for person in (ann, bob):
        person.subscribe(price)
    bob.add_card()
    bob.delete(f"/v1/payment-methods/{bob.get('/v1/payment-methods').json['items'][1]['id']}")
    world.go_to("2029-12-03T12:00:00")
    told = [one for one in world.operator.get("/v1/sandbox/emails?limit=100").json["items"]]
    expiring = [one for one in told if one["kind"] == "card_expiring"]
    assert [one["sent_at"][:10] for one in expiring] == ["2029-12-02"] * 2
    assert "Visa card ending in 4242" in expiring[0]["text"] and "2029-12" in expiring[0]["text"]
