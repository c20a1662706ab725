"""Price migrations over HTTP: whom they reach, what they count, and which notices customers get."""

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from streamsvc.models.subscriptions import PriceMigrationTarget, Subscription, SubscriptionEvent
from streamsvc.operations.billing.subscriptions import price_migrations
from streamsvc.storage.database import db
from tests.worlds.billing_world import World

MIGRATIONS = "/v1/admin/price-migrations"
NOTICES = ("price_change", "price_change_corrected", "price_change_withdrawn")
NO_COUNTS = dict.fromkeys(("base", "planned", "addon", "applied", "declined", "skipped", "withdrawn", "unprocessed"), 0)


@pytest.fixture
def world(app):
    world = World(app)
    world.go_to("2026-02-01T12:00:00")
    yield world
    assert world.differences() == []


@pytest.fixture
def ann(world):
    return world.person()


def migrate(world, old, new, effective, **more):
    body = {"from_price_id": old, "to_price_id": new, "effective": effective, **more}
    response = world.operator.post(MIGRATIONS, body)
    assert response.status_code == 201, response.json
    return response.json


def counts(world, migration):
    """Return those counts of a migration that are not zero."""
    shown = world.operator.get(f"{MIGRATIONS}/{migration['id']}").json
    assert shown in world.operator.get(MIGRATIONS).json["items"]
    return {name: count for name, count in shown["counts"].items() if count}


def withdraw(world, migration):
    response = world.operator.delete(f"{MIGRATIONS}/{migration['id']}")
    assert response.status_code == 200, response.json
    return response.json


def step(person, action, body=None):
    response = person.post(f"/v1/subscriptions/{person.subscription()['id']}/{action}", body)
    assert response.status_code in (200, 201), response.json
    return response.json


def amounts(person):
    return [invoice["total_minor"] for invoice in person.invoices()]


def notices(world, day=None):
    """Return (kind, text) of each mail about prices, oldest first."""
    world.go_to(world.clock.at)
    items = world.operator.get("/v1/sandbox/emails?limit=100").json["items"]
    return [(mail["kind"], mail["text"]) for mail in reversed(items) if mail["kind"] in NOTICES]


@pytest.mark.parametrize("later_first", [False, True])
def test_the_latest_effective_date_counts_whatever_the_order_of_posting(world, ann, later_first):
    old, mid, new = world.plan("p", 1000, 1500, 2000)
    yearly_old, yearly_mid, yearly_new = world.plan("y", 10_000, 15_000, 20_000, interval="year")
    bob = world.person()
    ann.subscribe(old)
    bob.subscribe(yearly_old)
    posts = [(old, mid, "2026-03-10"), (old, new, "2026-05-10")]
    posts += [(yearly_old, yearly_mid, "2026-03-10"), (yearly_old, yearly_new, "2026-05-10")]
    for terms in reversed(posts) if later_first else posts:
        assert migrate(world, *terms)["subscriptions"] == 1
    world.go_to("2026-06-02T12:00:00")
    assert amounts(ann) == [1000, 1000, 1500, 1500, 2000]
    assert bob.subscription()["pending_change"] == {"price_id": yearly_new, "effective": "2027-02-01"}
    world.go_to("2027-02-02T12:00:00")
    assert amounts(bob) == [10_000, 20_000]


def test_a_superseded_migration_counts_those_it_skipped(world, ann):
    old, mid, new = world.plan("p", 10_000, 15_000, 20_000, interval="year")
    ann.subscribe(old)
    first, second = migrate(world, old, mid, "2026-03-10"), migrate(world, old, new, "2026-05-10")
    assert (counts(world, first), counts(world, second)) == ({"base": 1}, {"base": 1})
    world.go_to("2027-02-02T12:00:00")
    assert (counts(world, first), counts(world, second)) == ({"skipped": 1}, {"applied": 1})


def test_a_planned_downgrade_leads_to_the_price_that_replaced_its_own(world, ann):
    premium = world.plan("premium", 30_000, interval="year")
    old, new = world.plan("basic", 10_000, 15_000, interval="year")
    ann.subscribe(premium)
    step(ann, "plan-change", {"price_id": old})
    migration = migrate(world, old, new, "2026-06-01", notice_days=30)
    assert (migration["subscriptions"], counts(world, migration)) == (1, {"planned": 1})
    assert ann.subscription()["pending_change"] == {"price_id": new, "effective": "2027-02-01"}
    assert [kind for kind, _ in notices(world)] == ["price_change"]
    world.go_to("2027-02-02T12:00:00")
    assert (amounts(ann), counts(world, migration)) == ([30_000, 15_000], {"applied": 1})


def test_a_downgrade_planned_after_the_migration_leads_there_too(world, ann):
    premium = world.plan("premium", 3000)
    old, new = world.plan("basic", 1000, 1500)
    ann.subscribe(premium)
    migration = migrate(world, old, new, "2026-02-10")
    assert (migration["subscriptions"], migration["counts"]) == (0, NO_COUNTS)
    step(ann, "plan-change", {"price_id": old})
    assert counts(world, migration) == {"planned": 1}
    ann.delete(f"/v1/subscriptions/{ann.subscription()['id']}/plan-change")
    assert counts(world, migration) == {"skipped": 1}
    step(ann, "plan-change", {"price_id": old})
    world.go_to("2026-03-02T12:00:00")
    assert (amounts(ann), counts(world, migration)) == ([3000, 1500], {"applied": 1})


def test_a_new_subscriber_between_announcement_and_effective_date_is_reached_after_the_notice(world, ann):
    old, new = world.plan("p", 1000, 1500)
    migration = migrate(world, old, new, "2026-04-01", notice_days=30)
    world.go_to("2026-03-25T12:00:00")
    preview = ann.post("/v1/invoice-previews", {"price_id": old}).json
    assert (preview["total_minor"], preview["next_renewal"]["total_minor"]) == (1000, 1500)
    ann.subscribe(old)
    assert ann.subscription()["pending_change"] == {"price_id": new, "effective": "2026-04-25"}
    [(kind, text)] = notices(world)
    assert kind == "price_change" and "2026-04-24" in text and "15.00 USD" in text
    world.go_to("2026-04-26T12:00:00")
    assert (amounts(ann), counts(world, migration)) == ([1000, 1500], {"applied": 1})


def test_a_start_on_a_later_day_is_charged_the_price_agreed_and_notified_when_it_begins(world, ann):
    old, new = world.plan("p", 1000, 1500)
    migration = migrate(world, old, new, "2026-02-10", notice_days=20)
    ann.subscribe(old, start_date="2026-03-01")
    assert notices(world) == []
    world.go_to("2026-03-01T12:00:00")
    [(_, text)] = notices(world)
    assert (amounts(ann), "2026-03-21" in text) == ([1000], True)
    world.go_to("2026-04-01T12:00:00")
    assert (amounts(ann), counts(world, migration)) == ([1000, 1500], {"applied": 1})


def test_a_declined_start_gets_no_notice(world):
    bob = world.person(card="pm_card_chargeCustomerFail")
    old, new = world.plan("p", 1000, 1500)
    migration = migrate(world, old, new, "2026-04-01")
    assert bob.subscribe(old).status_code == 402
    assert (notices(world), counts(world, migration)) == ([], {"skipped": 1})


def test_a_paused_subscriber_is_reached_when_they_resume(world, ann):
    old, new = world.plan("p", 1000, 1500)
    ann.subscribe(old)
    step(ann, "pause")
    migration = migrate(world, old, new, "2026-03-01", notice_days=20)
    assert counts(world, migration) == {"base": 1}
    world.go_to("2026-05-01T12:00:00")
    ann.delete(f"/v1/subscriptions/{ann.subscription()['id']}/pause")
    assert [kind for kind, _ in notices(world)] == ["price_change"]
    world.go_to("2026-05-31T12:00:00")
    assert amounts(ann) == [1000, 1500]


def test_an_imported_subscriber_and_a_transferred_subscription_are_reached(world, ann):
    old, new = world.plan("p", 1000, 1500)
    bob = world.person()
    migration = migrate(world, old, new, "2026-03-01", notice_days=10)
    body = {"account_id": ann.id, "price_id": old, "paid_through": "2026-02-20"}
    assert world.operator.post("/v1/admin/subscriptions", body).status_code == 201
    assert counts(world, migration) == {"base": 1}
    assert len(notices(world)) == 1
    path = f"/v1/admin/subscriptions/{ann.subscription()['id']}/transfer"
    assert world.operator.post(path, {"account_id": bob.id}).status_code == 200
    assert [kind for kind, _ in notices(world)] == ["price_change"] * 2
    world.go_to("2026-03-21T12:00:00")
    assert (amounts(bob), counts(world, migration)) == ([1000, 1500], {"applied": 1})


def test_a_migration_of_an_addons_price_applies_to_the_addon(world, ann):
    base = world.plan("p", 1000)
    small, large = world.plan("sports", 300, 500)
    bob = world.person()
    ann.subscribe(base, addons=[small])
    bob.subscribe(base)
    migration = migrate(world, small, large, "2026-02-10")
    assert (migration["subscriptions"], counts(world, migration)) == (1, {"addon": 1})
    [(_, text)] = notices(world)
    assert "Sports costs 5.00 USD instead of 3.00 USD" in text
    world.go_to("2026-03-02T12:00:00")
    assert (amounts(ann), amounts(bob)) == ([1300, 1500], [1000, 1000])
    assert ann.subscription()["addons"][0]["price"]["id"] == large
    assert counts(world, migration) == {"applied": 1}


def test_a_withdrawn_migration_of_an_addon_leaves_its_price(world, ann):
    base = world.plan("p", 1000)
    small, large = world.plan("sports", 300, 500)
    ann.subscribe(base, addons=[small])
    migration = migrate(world, small, large, "2026-02-10")
    assert len(notices(world)) == 1
    withdraw(world, migration)
    assert notices(world)[-1][0] == "price_change_withdrawn" and "Sports still costs 3.00 USD" in notices(world)[-1][1]
    world.go_to("2026-03-02T12:00:00")
    assert (amounts(ann), counts(world, migration)) == ([1300, 1300], {"withdrawn": 1})


def test_an_addon_that_is_added_later_is_migrated(world, ann):
    base = world.plan("p", 1000)
    small, large = world.plan("sports", 300, 500)
    ann.subscribe(base)
    migration = migrate(world, small, large, "2026-02-10")
    step(ann, "addons", {"price_id": small})
    assert counts(world, migration) == {"addon": 1}
    world.go_to("2026-03-02T12:00:00")
    assert amounts(ann)[-1] == 1500


def test_a_migration_to_an_addon_needs_the_same_addon(world):
    base, other = world.plan("p", 1000), world.plan("q", 1000)
    body = {"name": "Extra", "addon": True, "features": {}}
    prices = [{"currency": "USD", "amount_minor": amount, "tax": "exclusive"} for amount in (300, 500)]
    plan = world.operator.put("/v1/admin/plans/extra", {**body, "prices": prices}).json
    small, large = (price["id"] for price in plan["prices"])
    refused = world.operator.post(MIGRATIONS, {"from_price_id": base, "to_price_id": small, "effective": "2026-04-01"})
    assert (refused.status_code, list(refused.json["errors"])) == (422, ["to_price_id"])
    assert migrate(world, small, large, "2026-04-01")["subscriptions"] == 0
    assert migrate(world, base, other, "2026-04-01")["subscriptions"] == 0


def test_a_chain_whose_second_step_was_posted_first_is_followed(world, ann):
    first, second, third = world.plan("p", 1000, 1500, 2000)
    later = migrate(world, second, third, "2026-04-10")
    ann.subscribe(first)
    sooner = migrate(world, first, second, "2026-02-10")
    assert (counts(world, later), counts(world, sooner)) == ({"planned": 1}, {"base": 1})
    [(_, text)] = notices(world)
    assert "15.00 USD instead of 10.00 USD" in text and "20.00 USD instead of 15.00 USD" in text
    world.go_to("2026-05-02T12:00:00")
    assert amounts(ann) == [1000, 1500, 1500, 2000]
    assert (counts(world, later), counts(world, sooner)) == ({"applied": 1}, {"applied": 1})
    assert len(notices(world)) == 1


def test_a_chain_posted_in_its_order_reaches_those_who_are_on_their_way(world, ann):
    first, second, third = world.plan("p", 1000, 1500, 2000)
    ann.subscribe(first)
    sooner, later = migrate(world, first, second, "2026-02-10"), migrate(world, second, third, "2026-02-20")
    assert (later["subscriptions"], counts(world, sooner), counts(world, later)) == (1, {"base": 1}, {"planned": 1})
    world.go_to("2026-03-02T12:00:00")
    assert (amounts(ann), counts(world, sooner), counts(world, later)) == ([1000, 2000], {"applied": 1}, {"applied": 1})


def test_two_superseding_changes_are_one_notice_and_a_replaced_one_is_corrected(world, ann):
    old, mid, new, last = world.plan("p", 10_000, 15_000, 20_000, 25_000, interval="year")
    ann.subscribe(old)
    migrate(world, old, mid, "2026-03-10")
    migrate(world, old, new, "2026-05-10")
    [(kind, text)] = notices(world)
    assert kind == "price_change" and "200.00 USD instead of 100.00 USD" in text and "150.00" not in text
    migrate(world, old, last, "2026-06-10")
    [_, (kind, text)] = notices(world)
    assert kind == "price_change_corrected" and "250.00 USD instead of 100.00 USD" in text
    migrate(world, old, mid, "2026-04-10")
    assert len(notices(world)) == 2


def test_a_withdrawal_is_announced_only_to_those_who_were_notified(world, ann):
    old, new = world.plan("p", 1000, 1500)
    bob = world.person()
    ann.subscribe(old)
    withdrawn = withdraw(world, migrate(world, old, new, "2026-03-10"))
    assert (withdrawn["counts"]["withdrawn"], notices(world)) == (1, [])
    migration = migrate(world, old, new, "2026-03-10")
    assert [kind for kind, _ in notices(world)] == ["price_change"]
    bob.subscribe(old)
    assert withdraw(world, migration)["counts"] == NO_COUNTS | {"withdrawn": 2}
    shown = notices(world)
    assert [kind for kind, _ in shown] == ["price_change", "price_change_withdrawn"]
    assert "10.00 USD" in shown[-1][1] and "2026-03-10" in shown[-1][1]
    assert [person.subscription()["pending_change"] for person in (ann, bob)] == [None, None]
    world.go_to("2026-04-02T12:00:00")
    assert (amounts(ann), amounts(bob)) == ([1000] * 3, [1000] * 3)


def test_withdrawing_the_later_of_two_migrations_restores_the_earlier(world, ann):
    old, mid, new = world.plan("p", 10_000, 15_000, 20_000, interval="year")
    ann.subscribe(old)
    migrate(world, old, mid, "2026-03-10")
    second = migrate(world, old, new, "2026-05-10")
    assert len(notices(world)) == 1
    withdraw(world, second)
    assert ann.subscription()["pending_change"] == {"price_id": mid, "effective": "2027-02-01"}
    assert notices(world)[-1][0] == "price_change_corrected" and "150.00 USD" in notices(world)[-1][1]


def test_a_customer_who_leaves_is_notified_when_they_stay_and_the_days_of_notice_count_from_then(world, ann):
    old, new = world.plan("p", 1000, 1500)
    ann.subscribe(old)
    step(ann, "cancellation")
    migration = migrate(world, old, new, "2026-02-10", notice_days=9)
    assert notices(world) == []
    world.go_to("2026-02-25T12:00:00")
    ann.delete(f"/v1/subscriptions/{ann.subscription()['id']}/cancellation")
    [(kind, text)] = notices(world)
    assert kind == "price_change" and "2026-03-06" in text
    world.go_to("2026-04-02T12:00:00")
    assert (amounts(ann), counts(world, migration)) == ([1000, 1000, 1500], {"applied": 1})


def test_a_declined_migration_is_declined_for_good_and_the_other_customers_move(world, ann):
    old, new = world.plan("p", 1000, 1500)
    bob = world.person()
    for person in (ann, bob):
        person.subscribe(old)
    migration = migrate(world, old, new, "2026-02-10", can_decline=True)
    row = ann.subscription()
    assert row["declinable_change"] == row["pending_change"] == {"price_id": new, "effective": "2026-03-01"}
    assert ann.delete(f"/v1/subscriptions/{ann.subscription()['id']}/price-migration").status_code == 200
    assert (ann.subscription()["declinable_change"], ann.subscription()["pending_change"]) == (None, None)
    assert counts(world, migration) == {"base": 1, "declined": 1}
    step(ann, "pause")
    world.go_to("2026-02-02T12:00:00")
    ann.delete(f"/v1/subscriptions/{ann.subscription()['id']}/pause")
    world.go_to("2026-03-03T12:00:00")
    assert (amounts(ann), amounts(bob)) == ([1000, 1000], [1000, 1500])
    assert counts(world, migration) == {"applied": 1, "declined": 1}
    assert [kind for kind, _ in notices(world)] == ["price_change"]


def test_a_migration_that_cannot_be_declined_is_pending_alone(world, ann):
    old, new = world.plan("p", 1000, 1500)
    ann.subscribe(old)
    migrate(world, old, new, "2026-02-10")
    assert (ann.subscription()["declinable_change"], ann.subscription()["pending_change"]["price_id"]) == (None, new)


def test_a_preview_counts_and_prices_a_migration_without_doing_anything(world, ann):
    base, premium = world.plan("p", 1000), world.plan("premium", 3000)
    small, large = world.plan("sports", 300, 500)
    bob, cat, dan = (world.person(country="CA") for _ in range(3))
    ann.subscribe(base, addons=[small])
    bob.subscribe(small)
    cat.subscribe(premium)
    step(cat, "plan-change", {"price_id": small})
    dan.subscribe(base)
    query = f"{MIGRATIONS}/preview?from_price_id={small}&to_price_id={large}&effective=2026-02-10&notice_days=30"
    preview = world.operator.get(query).json
    assert preview == {
        "effective": "2026-03-03",
        "subscriptions": 3,
        "base": 1,
        "planned": 1,
        "addon": 1,
        "currency": "USD",
        "renewal_change_minor": 600,
        "mrr_change_minor": 600,
    }
    assert world.operator.get(f"{query}&country=CA").json["subscriptions"] == 2
    assert world.operator.get(f"{query}&started_before=2026-02-01").json["subscriptions"] == 0
    assert world.operator.get(query.replace(large, base)).json["addon"] == 0
    assert world.operator.get(query.replace(large, small)).status_code == 422
    assert (world.operator.get(MIGRATIONS).json["items"], notices(world)) == ([], [])
    migration = migrate(world, small, large, "2026-02-10", notice_days=30)
    assert (migration["subscriptions"], counts(world, migration)) == (3, {"base": 1, "planned": 1, "addon": 1})
    world.go_to("2026-03-04T12:00:00")
    world.go_to("2026-04-02T12:00:00")
    assert [amounts(person)[-1] for person in (ann, bob, cat, dan)] == [1500, 500, 500, 1000]


def test_a_large_migration_runs_in_batches_and_resumes(world, ann, monkeypatch):
    monkeypatch.setattr(price_migrations, "MIGRATION_BATCH_SIZE", 2)
    old, new = world.plan("p", 1000, 1500)
    people = [ann, *(world.person() for _ in range(4))]
    for person in people:
        person.subscribe(old)
    migration = migrate(world, old, new, "2026-03-10")
    assert (migration["subscriptions"], migration["completed_at"]) == (5, None)
    assert counts(world, migration) == {"base": 2, "unprocessed": 3}
    world.go_to("2026-02-01T12:00:01")
    assert counts(world, migration) == {"base": 5}
    assert world.operator.get(f"{MIGRATIONS}/{migration['id']}").json["completed_at"] is not None
    assert withdraw(world, migration)["counts"] == NO_COUNTS | {"base": 3, "withdrawn": 2}
    world.go_to("2026-02-01T12:00:02")
    assert counts(world, migration) == {"withdrawn": 5}
    assert len(notices(world)) == 10


def test_a_subscription_that_both_sides_missed_is_found_within_the_hour(world, ann):
    """It started while the migration was posted: neither transaction saw the other."""
    old, new = world.plan("p", 1000, 1500)
    migration = migrate(world, old, new, "2026-02-20")
    ann.subscribe(old)
    assert len(notices(world)) == 1
    with world.app.app_context():
        db.session.execute(sa.delete(PriceMigrationTarget))
        db.session.execute(sa.delete(SubscriptionEvent).where(SubscriptionEvent.kind == "price_scheduled"))
        db.session.execute(sa.update(Subscription).values(open_migrations=0, announced_prices=[]))
        db.session.commit()
    assert counts(world, migration) == {}
    with world.app.app_context():
        price_migrations.schedule_late_targets({}, datetime(2026, 2, 1, 13, tzinfo=UTC))
        db.session.commit()
    world.go_to("2026-02-01T14:00:00")
    assert counts(world, migration) == {"base": 1}
    world.go_to("2026-03-02T12:00:00")
    assert amounts(ann) == [1000, 1500]


def test_a_migration_that_a_later_one_overruled_is_tried_once(world, ann):
    """Those who came to the dearer price by the later migration are not led back by the earlier one."""
    cheap, dear = world.plan("p", 1000, 1500)
    ann.subscribe(cheap)
    world.go_to("2026-02-02T12:00:00")
    down = migrate(world, dear, cheap, "2026-02-10")
    migrate(world, cheap, dear, "2026-02-20")
    world.go_to("2026-04-02T12:00:00")
    assert (amounts(ann), counts(world, down)) == ([1000, 1500, 1500], {"skipped": 1})
    for _ in range(2):
        with world.app.app_context():
            price_migrations.schedule_late_targets({}, world.clock.at)
            db.session.commit()
        world.go_to(world.clock.at + timedelta(minutes=1))
    assert (counts(world, down), ann.subscription()["pending_change"]) == ({"skipped": 1}, None)
    bob = world.person()
    bob.subscribe(dear)
    world.go_to("2026-05-03T12:00:00")
    assert amounts(bob) == [1500, 1500]


def test_a_subscription_is_not_moved_to_a_plan_that_it_has_as_an_addon(world, ann):
    base, (small, large) = world.plan("p", 1000), world.plan("sports", 300, 1200)
    bob = world.person()
    ann.subscribe(base, addons=[small])
    bob.subscribe(base)
    migration = migrate(world, base, large, "2026-02-10")
    assert (migration["subscriptions"], counts(world, migration)) == (1, {"base": 1, "skipped": 1})
    world.go_to("2026-03-02T12:00:00")
    assert (amounts(ann), amounts(bob)) == ([1300, 1300], [1000, 1200])


def test_a_migration_is_found_by_its_id_only(world):
    assert world.operator.get(f"{MIGRATIONS}/mig_none").status_code == 404
