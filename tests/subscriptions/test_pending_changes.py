"""The day on which a pending change of the price takes effect, as the subscription shows it beforehand."""

import pytest

from tests.worlds.billing_world import World


@pytest.fixture
def world(app):
    world = World(app)
    yield world
    assert world.differences() == []


def migrate(world, old, new, effective):
    body = {"from_price_id": old, "to_price_id": new, "effective": effective}
    assert world.operator.post("/v1/admin/price-migrations", body).json["subscriptions"] == 1


def test_a_change_within_a_paid_period_is_shown_with_the_renewal_after_it(world):
    old, new, other = world.plan("p", 1000, 1500, 700)
    ann, bob = world.person(), world.person()
    ann.subscribe(old)
    bob.subscribe(other)
    migrate(world, old, new, "2026-02-01")
    assert ann.subscription()["pending_change"] == {"price_id": new, "effective": "2026-02-15"}
    assert bob.subscription()["pending_change"] is None
    world.go_to("2026-02-16")
    assert [invoice["total_minor"] for invoice in ann.invoices()] == [1000, 1500]


def test_a_change_within_a_trial_is_shown_with_the_first_paid_period(world):
    old, new = world.plan("p", 1000, 1500, trial_days=30)
    ann = world.person()
    ann.subscribe(old)
    migrate(world, old, new, "2026-02-01")
    assert ann.subscription()["pending_change"] == {"price_id": new, "effective": "2026-02-14"}
    world.go_to("2026-02-15")
    assert [invoice["total_minor"] for invoice in ann.invoices() if invoice["total_minor"]] == [1500]
