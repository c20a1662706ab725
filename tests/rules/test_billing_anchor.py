"""Moves of the anchor: paid days stay paid, and the bridge to the new day is billed when it begins."""

from datetime import date

import pytest

from streamsvc.rules.billing import facts as fact
from streamsvc.rules.billing.calendar import Grid, Interval, Period, first_anchor_on_or_after
from streamsvc.rules.billing.lines import lines_due, replay_timeline

MONTH, YEAR = Interval("month"), Interval("year")
BASIC, YEARLY = fact.PriceTerms("basic", 3100, MONTH), fact.PriceTerms("yearly", 36_500, YEAR)


def day(text):
    return date.fromisoformat(text)


def replay(*events, price=YEARLY, start="2026-01-01", until="2026-12-31", booked=(), **more):
    started = fact.Started("e0", day(start), price, day(start), **more)
    return replay_timeline(fact.Facts((started, *events), dict(booked)), day(until))


def move(ref, on, *anchor, late=True):
    return fact.AnchorMoved(ref, day(on), *anchor, bridges_late=late)


def charges(timeline):
    return [
        (str(line.bill_on), str(line.period.start), str(line.period.end), line.amount_minor)
        for line in timeline.lines
        if line.kind == "charge"
    ]


@pytest.mark.parametrize("new_day", [1, 10, 15, 28, 31])
def test_the_bridge_of_a_yearly_price_waits_for_the_end_of_the_paid_year(new_day):
    """Paid from 20 January 2026: whatever the day, nothing is due before 20 January 2027."""
    moved = move("e1", "2026-02-05", new_day)
    timeline = replay(moved, start="2026-01-20", until="2027-01-19")
    assert (len(timeline.lines), timeline.next_bill_on) == (1, day("2027-01-20"))
    assert timeline.period == Period(day("2026-01-20"), day("2027-01-20"))
    timeline = replay(moved, start="2026-01-20", until="2027-01-20")
    assert charges(timeline)[1][:2] == ("2027-01-20", "2027-01-20")


def test_an_anchor_month_moves_a_year_to_another_month():
    """The bridge from 1 January to 1 July is 181 of the 365 days to 1 July 2027."""
    moved = move("e1", "2026-02-05", 1, 7)
    timeline = replay(moved)
    assert timeline.bridge == Period(day("2027-01-01"), day("2027-07-01"))
    assert charges(replay(moved, until="2027-07-01"))[1:] == [
        ("2027-01-01", "2027-01-01", "2027-07-01", 18_100),
        ("2027-07-01", "2027-07-01", "2028-07-01", 36_500),
    ]


def test_a_year_can_start_with_an_anchor_month():
    timeline = replay(until="2026-10-01", anchor_day=1, anchor_month=10)
    assert charges(timeline) == [
        ("2026-01-01", "2026-01-01", "2026-10-01", 27_300),
        ("2026-10-01", "2026-10-01", "2027-10-01", 36_500),
    ]


def test_the_leap_day_as_a_yearly_anchor_is_the_last_of_february_in_other_years():
    grid = Grid.from_first(day("2026-06-01"), 29, YEAR, 2)
    assert [str(grid.date(n)) for n in range(-1, 3)] == ["2026-02-28", "2027-02-28", "2028-02-29", "2029-02-28"]
    assert first_anchor_on_or_after(day("2028-02-29"), 29, 2) == day("2028-02-29")
    assert first_anchor_on_or_after(day("2028-03-01"), 29, 2) == day("2029-02-28")
    assert first_anchor_on_or_after(day("2026-12-31"), 31, 1) == day("2027-01-31")


def test_an_anchor_at_a_months_end_bridges_to_the_end_of_each_month():
    """Paid to 1 February; the bridge to 28 February is 27 of the 28 days from 31 January."""
    moved = move("e1", "2026-01-10", 31)
    assert charges(replay(moved, price=BASIC, until="2026-03-31"))[1:] == [
        ("2026-02-01", "2026-02-01", "2026-02-28", 2989),
        ("2026-02-28", "2026-02-28", "2026-03-31", 3100),
        ("2026-03-31", "2026-03-31", "2026-04-30", 3100),
    ]


def test_an_anchor_moved_twice_or_back_has_one_bridge_or_none():
    twice = move("e1", "2026-01-10", 15), move("e2", "2026-01-12", 20)
    assert charges(replay(*twice, price=BASIC, until="2026-02-19"))[1:] == [
        ("2026-02-01", "2026-02-01", "2026-02-20", 1900)
    ]
    back = replay(move("e1", "2026-01-10", 15), move("e2", "2026-01-12", 1), price=BASIC, until="2026-01-31")
    assert (back.bridge, back.next_bill_on) == (None, day("2026-02-01"))
    dropped = fact.Reverted("e3", day("2026-01-13"), "e1"), fact.Reverted("e4", day("2026-01-13"), "e2")
    assert charges(replay(*twice, *dropped, price=BASIC, until="2026-02-01"))[1:] == [
        ("2026-02-01", "2026-02-01", "2026-03-01", 3100)
    ]


def test_a_trial_ends_into_the_stub_before_a_moved_anchor():
    moved = move("e1", "2026-01-03", 15)
    timeline = replay(moved, price=BASIC, until="2026-01-10", trial_days=10)
    assert timeline.bridge == Period(day("2026-01-11"), day("2026-01-15"))
    timeline = replay(moved, price=BASIC, until="2026-01-15", trial_days=10)
    assert charges(timeline) == [
        ("2026-01-11", "2026-01-11", "2026-01-15", 400),
        ("2026-01-15", "2026-01-15", "2026-02-15", 3100),
    ]


def test_a_pause_moves_the_bridge_and_keeps_the_planned_anchor():
    events = move("e1", "2026-01-10", 15), fact.Paused("e2", day("2026-01-12")), fact.Resumed("e3", day("2026-01-14"))
    timeline = replay(*events, price=BASIC, until="2026-02-15")
    assert charges(timeline)[1:] == [
        ("2026-02-03", "2026-02-03", "2026-02-15", 1200),
        ("2026-02-15", "2026-02-15", "2026-03-15", 3100),
    ]


def test_a_yearly_anchor_month_moves_with_a_pause():
    events = fact.Paused("e1", day("2026-11-01")), fact.Resumed("e2", day("2026-12-01"))
    timeline = replay(*events, until="2027-01-31", anchor_day=1, anchor_month=1)
    assert (timeline.anchor_day, timeline.anchor_month) == (31, 1)
    assert charges(timeline)[1] == ("2027-01-31", "2027-01-31", "2028-01-31", 36_500)


def test_a_plan_by_the_month_has_no_anchor_month():
    changed = fact.PriceScheduled("e1", day("2026-02-01"), BASIC, day("2026-02-01"))
    timeline = replay(changed, until="2027-01-01", anchor_day=1, anchor_month=1)
    assert (timeline.anchor_day, timeline.anchor_month) == (1, None)
    assert charges(timeline)[-1] == ("2027-01-01", "2027-01-01", "2027-02-01", 3100)


def test_a_trial_that_was_paused_shows_its_whole_period():
    events = fact.Paused("e1", day("2026-01-03")), fact.Resumed("e2", day("2026-01-08"))
    assert replay(*events, until="2026-01-09", trial_days=10).period == Period(day("2026-01-01"), day("2026-01-16"))


def test_a_bridge_that_was_invoiced_early_stays_invoiced():
    """Once, a bridge was billed when the new day first came: the books of that time still agree with the history."""
    moved = move("e1", "2026-01-10", 15, late=False)
    bridge = replay(moved, price=BASIC, until="2026-02-01").lines[-1]
    booked = {bridge.identity: fact.BookedLine(bridge.amount_minor)}
    timeline = replay(moved, price=BASIC, until="2026-01-20", booked=booked)
    assert [line.identity for line in timeline.lines][-1] == bridge.identity
    assert timeline.next_bill_on == day("2026-02-15")
    unbooked = fact.Facts((fact.Started("e0", day("2026-01-01"), BASIC, day("2026-01-01")), moved))
    assert [str(line.period.start) for line in lines_due(unbooked, day("2026-01-31"))] == ["2026-01-01"]
