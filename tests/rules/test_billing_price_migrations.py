"""Price migrations in the timeline: of those that have come, the one with the latest effective date applies."""

from datetime import date
from itertools import permutations

import pytest

from streamsvc.rules.billing import facts as fact
from streamsvc.rules.billing.calendar import Interval
from streamsvc.rules.billing.lines import replay_timeline

MONTH, YEAR = Interval("month"), Interval("year")
JANUARY = date(2026, 1, 1)


def price(name, interval=MONTH):
    return fact.PriceTerms(name, 1000, interval)


def migrate(ref, old, new, effective, interval=MONTH, not_before=None, on=JANUARY):
    day = date.fromisoformat(effective)
    return fact.PriceScheduled(ref, on, price(new, interval), not_before or day, old, f"mig_{ref}", day)


def started(name="a", interval=MONTH):
    return fact.Started("e0", JANUARY, price(name, interval), JANUARY)


def replay(*events, until="2026-12-31"):
    return replay_timeline(fact.Facts(events), date.fromisoformat(until))


def prices_by_month(*events, until="2026-12-31"):
    """Return the price of each period that starts in the year, as one letter per period."""
    return "".join(line.price_id for line in replay(*events, until=until).lines if line.item == fact.BASE_ITEM)


ANNOUNCED = {
    "two from the same price": [("a", "b", "2026-03-01"), ("a", "c", "2026-06-01")],
    "a chain": [("a", "b", "2026-03-01"), ("b", "c", "2026-06-01")],
    "a chain whose second step comes first": [("a", "b", "2026-06-01"), ("b", "c", "2026-03-01")],
    "there and back": [("a", "b", "2026-03-01"), ("b", "a", "2026-06-01")],
    "there and back, and the way back comes first": [("a", "b", "2026-06-01"), ("b", "a", "2026-03-01")],
    "a chain, and one from its start": [("a", "b", "2026-03-01"), ("b", "c", "2026-05-01"), ("a", "d", "2026-07-01")],
    "a chain, and one from its start before it": [
        ("a", "b", "2026-03-01"),
        ("b", "c", "2026-07-01"),
        ("a", "d", "2026-05-01"),
    ],
}
EXPECTED = {
    "two from the same price": "aabbbccccccc",
    "a chain": "aabbbccccccc",
    "a chain whose second step comes first": "aaaaaccccccc",
    "there and back": "aabbbaaaaaaa",
    "there and back, and the way back comes first": "aaaaabbbbbbb",
    "a chain, and one from its start": "aabbccdddddd",
    "a chain, and one from its start before it": "aabbddcccccc",
}


@pytest.mark.parametrize("name", ANNOUNCED)
def test_the_latest_effective_date_that_has_come_counts_in_any_order_of_posting(name):
    for order in permutations(ANNOUNCED[name]):
        events = [migrate(f"e{n}", *terms) for n, terms in enumerate(order, 1)]
        assert prices_by_month(started(), *events) == EXPECTED[name]


@pytest.mark.parametrize("name", ANNOUNCED)
def test_a_renewal_after_all_of_them_comes_to_the_last_one_at_once(name):
    for order in permutations(ANNOUNCED[name]):
        events = [migrate(f"e{n}", *terms, interval=YEAR) for n, terms in enumerate(order, 1)]
        timeline = replay(started(interval=YEAR), *events, until="2027-01-01")
        expected = "a" + EXPECTED[name][-1]
        if name == "a chain, and one from its start before it":
            expected = "ad"  # from a, the latest one leads to d; the subscription was never on b
        assert "".join(line.price_id for line in timeline.lines) == expected
        steps = [(step.old_price.id, step.price.id, step.start) for step in timeline.price_steps]
        assert steps == ([] if expected == "aa" else [("a", expected[1], date(2027, 1, 1))])


def test_a_migration_that_is_superseded_is_no_longer_pending():
    events = migrate("e1", "a", "b", "2026-03-01", YEAR), migrate("e2", "a", "c", "2026-06-01", YEAR)
    timeline = replay(started(interval=YEAR), *events, until="2026-12-31")
    assert [event.ref for event in timeline.pending_migrations] == ["e1", "e2"]
    timeline = replay(started(interval=YEAR), *events, until="2027-01-01")
    assert (timeline.pending_migrations, timeline.applied_migrations) == ([], [events[1]])


def test_a_planned_change_leads_straight_to_the_price_that_superseded_its_own():
    planned = fact.PriceScheduled("e1", JANUARY, price("a"), JANUARY)
    moved = migrate("e2", "a", "b", "2026-01-15")
    assert prices_by_month(started("x"), planned, moved) == "xbbbbbbbbbbb"
    dropped = fact.PriceScheduled("e3", date(2026, 1, 20), None, JANUARY)
    assert prices_by_month(started("x"), planned, moved, dropped) == "xxxxxxxxxxxx"
    assert replay(started("x"), planned, moved, dropped).pending_migrations == []


def test_a_change_of_the_customers_own_drops_the_migrations_of_the_price_they_left():
    moved = migrate("e1", "a", "b", "2026-03-01")
    changed = fact.PriceChanged("e2", date(2026, 2, 1), price("x"), date(2026, 2, 1))
    back = fact.PriceChanged("e3", date(2026, 4, 1), price("a"), date(2026, 4, 1))
    timeline = replay(started(), moved, changed, back)
    assert (timeline.price.id, timeline.pending_migrations) == ("a", [])
    again = migrate("e4", "a", "b", "2026-03-01", not_before=date(2026, 6, 1), on=date(2026, 4, 1))
    assert prices_by_month(started(), moved, changed, back, again)[-7:] == "bbbbbbb"


def test_a_change_now_to_a_price_keeps_the_migration_that_its_plan_had():
    planned, moved = fact.PriceScheduled("e1", JANUARY, price("a"), JANUARY), migrate("e2", "a", "b", "2026-03-01")
    changed = fact.PriceChanged("e3", date(2026, 1, 10), price("a"), date(2026, 1, 10))
    assert prices_by_month(started("x"), planned, moved, changed) == "xxaabbbbbbbbbb"


def test_an_addon_is_migrated_alone():
    extra = fact.PriceTerms("extra", 100, MONTH)
    added = fact.AddonAdded("e1", JANUARY, "sports", extra)
    timeline = replay(started(), added, migrate("e2", "extra", "dearer", "2026-03-01"))
    bought = [line.price_id for line in timeline.lines if line.item == "sports"]
    assert bought == ["extra"] * 2 + ["dearer"] * 10
    assert prices_by_month(started(), added, migrate("e2", "extra", "dearer", "2026-03-01")) == "a" * 12
    removed = fact.AddonRemoved("e3", date(2026, 2, 10), "sports", date(2026, 2, 11))
    timeline = replay(started(), added, migrate("e2", "extra", "dearer", "2026-03-01"), removed)
    assert timeline.pending_migrations == []


def test_a_migration_awaits_only_those_whom_it_can_still_move():
    timeline = replay(started(), migrate("e1", "a", "b", "2026-06-01"), until="2026-07-01")
    assert timeline.coming_prices == {"b"}
    assert timeline.awaits(migrate("e2", "b", "c", "2026-09-01"))
    assert timeline.awaits(migrate("e2", "b", "c", "2026-02-01"))
    assert not timeline.awaits(migrate("e2", "b", "a", "2026-02-01"))
    assert not timeline.awaits(migrate("e2", "x", "c", "2026-09-01"))
