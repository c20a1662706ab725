"""Cases of the timeline beyond the reference cases, with prices whose daily share is a round number."""

from datetime import date

import pytest

from streamsvc.rules.billing import facts as fact
from streamsvc.rules.billing.calendar import Grid, Interval
from streamsvc.rules.billing.changes import is_upgrade
from streamsvc.rules.billing.imported import ImportedTime
from streamsvc.rules.billing.lines import lines_due, replay_timeline
from streamsvc.rules.money import round_half_up

MONTH = Interval("month")
SMALL, LARGE = fact.PriceTerms("small", 3000, MONTH), fact.PriceTerms("large", 6000, MONTH)
FIRST = date(2026, 4, 1)  # a month of thirty days


def april(day):
    return date(2026, 4, day)


def replay(*events, price=SMALL, until=date(2026, 4, 30), **more):
    started = fact.Started("e0", FIRST, price, FIRST, **more)
    return replay_timeline(fact.Facts((started, *events)), until)


def line_values(timeline):
    return [(line.kind, line.price_id, line.period.start.day, line.amount_minor) for line in timeline.lines]


def test_halves_are_rounded_away_from_zero():
    assert [round_half_up(n, 2) for n in (-3, -1, 1, 3)] == [-2, -1, 1, 2]


def test_an_unpaid_change_does_not_take_effect():
    changed = fact.PriceChanged("e1", april(16), LARGE, april(16))
    reverted = fact.Reverted("e2", april(16), "e1")
    assert line_values(replay(changed, reverted)) == [("charge", "small", 1, 3000)]


def test_a_trial_that_starts_later_is_due_on_its_first_day():
    started = fact.Started("e0", FIRST, SMALL, april(10), trial_days=7)
    assert lines_due(fact.Facts((started,)), april(9)) == []
    assert [line.kind for line in lines_due(fact.Facts((started,)), april(10))] == ["trial"]


def test_a_scheduled_price_applies_from_its_first_possible_day():
    planned = fact.PriceScheduled("e1", april(10), LARGE, date(2026, 5, 1))
    assert line_values(replay(planned, until=date(2026, 5, 1)))[-1] == ("charge", "large", 1, 6000)


def test_a_migration_skips_customers_who_left_its_price():
    moved = fact.PriceScheduled("e1", april(2), fact.PriceTerms("third", 9, MONTH), april(2), only_from="small")
    planned = fact.PriceScheduled("e2", april(3), LARGE, april(3))
    timeline = replay_timeline(fact.Facts((fact.Started("e0", FIRST, SMALL, FIRST), planned, moved)), date(2026, 5, 1))
    assert timeline.price is LARGE


def test_dropping_a_planned_change_leaves_a_migration_alone():
    moved = fact.PriceScheduled("e1", april(2), LARGE, april(2), only_from="small")
    planned = fact.PriceScheduled("e2", april(3), fact.PriceTerms("third", 9, MONTH), april(3))
    dropped = fact.PriceScheduled("e3", april(4), None, april(4))
    assert replay(moved, planned, dropped, until=date(2026, 5, 1)).price is LARGE


def test_introductory_periods_are_counted():
    price = fact.PriceTerms("intro", 3000, MONTH, intro=fact.Intro(100, 2))
    assert [line.amount_minor for line in replay(price=price, until=date(2026, 7, 1)).lines] == [100, 100, 3000, 3000]


def test_a_line_is_credited_once_even_if_cut_twice():
    restored = fact.Suspended("e1", april(11), april(6), april(11))
    canceled = fact.Canceled("e2", april(11), april(1))
    credits = [line.amount_minor for line in replay(restored, canceled).lines if line.kind == "credit"]
    assert credits == [-500, -2500]


def test_frozen_days_can_still_be_credited_after_a_pause():
    events = (fact.Paused("e1", april(11)), fact.Resumed("e2", april(21)), fact.Canceled("e3", april(26), april(26)))
    timeline = replay(*events)
    assert line_values(timeline)[-1] == ("credit", "small", 26, -1500)
    assert timeline.lines[-1].period.end == date(2026, 5, 11)


def test_a_backdated_end_before_a_pause_credits_no_frozen_days():
    """25 of April's 30 days are credited: five before the pause and twenty that it moved."""
    events = (fact.Paused("e1", april(11)), fact.Resumed("e2", april(21)), fact.Canceled("e3", april(25), april(6)))
    credits = [(line.days, line.amount_minor) for line in replay(*events).lines if line.kind == "credit"]
    assert credits == [(5, -500), (20, -2000)]


def test_a_bridge_waits_for_the_plan_it_belongs_to():
    """The bridge is 14 of the 30 days to 15 May, at the price that starts in May."""
    moved = fact.AnchorMoved("e1", april(10), 15, bridges_late=True)
    planned = fact.PriceScheduled("e2", april(11), LARGE, april(11))
    assert replay(moved, planned).price is SMALL
    timeline = replay(moved, planned, until=date(2026, 5, 1))
    assert (timeline.price, line_values(timeline)[-1]) == (LARGE, ("charge", "large", 1, 2800))


def test_a_paid_addon_follows_a_shortened_or_extended_trial():
    """A trial of 20 days is dropped or extended to 30: the add-on is credited or charged for the difference.

    20 of the 31 days to 21 April are charged. Then ten of these twenty are credited, or ten of the 30 days to 1 May
    charged.
    """
    tried = fact.PriceTerms("tried", 3000, MONTH, trial_days=20)
    added = fact.AddonAdded("e1", FIRST, "extra", fact.PriceTerms("extra", 310, MONTH))
    longer = fact.PriceTerms("longer", 3000, MONTH, trial_days=30)
    for price, expected in ((SMALL, -100), (longer, 103)):
        changed = fact.PriceChanged("e2", april(11), price, april(11))
        lines = replay(added, changed, price=tried, trial_days=20, until=april(12)).lines
        assert [line.amount_minor for line in lines if line.item == "extra"][:2] == [200, expected]


def test_canceling_during_a_pause_credits_from_its_start():
    events = (fact.Paused("e1", april(11)), fact.Canceled("e2", april(21), april(21)))
    assert line_values(replay(*events))[-1] == ("credit", "small", 21, -2000)


def test_a_trial_that_is_paused_ends_later():
    events = (fact.Paused("e1", april(3)), fact.Resumed("e2", april(8)))
    timeline = replay(*events, trial_days=10)
    assert timeline.trial_end == april(16)
    assert line_values(timeline)[-1] == ("charge", "small", 16, 3000)


def test_an_end_on_a_date_charges_up_to_that_date():
    ends = fact.EndScheduled("e1", april(2), date(2026, 5, 11))
    assert line_values(replay(ends, until=date(2026, 6, 1)))[-1] == ("charge", "small", 1, round_half_up(3000 * 10, 31))


def test_a_period_after_the_end_is_never_invoiced():
    canceled = fact.Canceled("e1", date(2026, 5, 3), date(2026, 5, 1))
    assert line_values(replay(canceled, until=date(2026, 5, 3))) == [("charge", "small", 1, 3000)]


def test_an_invoiced_period_after_the_end_is_credited():
    started, canceled = fact.Started("e0", FIRST, SMALL, FIRST), fact.Canceled("e1", date(2026, 5, 3), date(2026, 5, 1))
    booked = {line.identity: fact.BookedLine(3000) for line in replay(until=date(2026, 5, 2)).lines}
    assert line_values(replay_timeline(fact.Facts((started, canceled), booked), date(2026, 5, 3)))[-1] == (
        "credit",
        "small",
        1,
        -3000,
    )


def test_an_imported_subscriber_is_charged_when_their_paid_time_ends():
    imported = fact.Imported("e0", april(10), SMALL, date(2026, 3, 20), april(20))
    timeline = replay_timeline(fact.Facts((imported,)), date(2026, 5, 1))
    assert line_values(timeline) == [("charge", "small", 20, 3000)]
    assert timeline.period.end == date(2026, 5, 20)


@pytest.mark.parametrize(("frozen_from", "end"), [(19, 30), (20, 20), (21, 20)])
def test_a_pause_postpones_time_paid_elsewhere_unless_it_is_over(frozen_from, end):
    time = ImportedTime(SMALL, Grid(april(20), 20, MONTH), april(20))
    time.postpone(april(frozen_from), 10)
    assert time.end == april(end)


@pytest.mark.parametrize(
    ("old", "new", "upgrade"),
    [
        ((1000, MONTH), (1001, MONTH), True),
        ((1000, MONTH), (999, MONTH), False),
        ((1000, MONTH), (11000, Interval("year")), False),
        ((1000, MONTH), (12000, Interval("year")), True),
        ((1000, MONTH), (240, Interval("week")), True),
        ((1000, MONTH), (229, Interval("week")), False),
    ],
)
def test_a_higher_price_for_the_same_time_is_an_upgrade(old, new, upgrade):
    prices = [fact.PriceTerms("p", amount, interval) for amount, interval in (old, new)]
    assert is_upgrade(*prices) is upgrade
