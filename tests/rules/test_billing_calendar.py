from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsvc.rules.billing.calendar import Grid, Interval, Period, civil_day, first_anchor_on_or_after, start_of_day

MONTH, YEAR = Interval("month"), Interval("year")


def dates(start, anchor_day, interval, n):
    grid = Grid.from_first(date.fromisoformat(start), anchor_day, interval)
    return [str(grid.date(i)) for i in range(n)]


def test_a_month_end_anchor_comes_back_after_february():
    """LG-003, KB-058."""
    assert dates("2022-12-31", 31, MONTH, 16)[1:] == [
        "2023-01-31",
        "2023-02-28",
        "2023-03-31",
        "2023-04-30",
        "2023-05-31",
        "2023-06-30",
        "2023-07-31",
        "2023-08-31",
        "2023-09-30",
        "2023-10-31",
        "2023-11-30",
        "2023-12-31",
        "2024-01-31",
        "2024-02-29",
        "2024-03-31",
    ]


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("2024-01-31", ["2024-01-31", "2024-02-29", "2024-03-31", "2024-04-30"]),
        ("2024-01-30", ["2024-01-30", "2024-02-29", "2024-03-30", "2024-04-30", "2024-05-30"]),
    ],
)
def test_periods_from_a_late_january_day(start, expected):
    """LG-006."""
    assert dates(start, None, MONTH, len(expected)) == expected


def test_an_explicit_anchor_day_creates_a_leading_stub():
    """OM-006: anchor 31, start 10 July."""
    grid = Grid.from_first(date(2025, 7, 10), 31, MONTH)
    assert grid.period_containing(date(2025, 7, 10)) == Period(date(2025, 6, 30), date(2025, 7, 31))
    assert [str(grid.date(n)) for n in range(3)] == ["2025-07-31", "2025-08-31", "2025-09-30"]


def test_a_leap_day_subscriber_renews_on_the_last_of_february():
    assert dates("2024-02-29", None, YEAR, 5) == ["2024-02-29", "2025-02-28", "2026-02-28", "2027-02-28", "2028-02-29"]


def test_weeks_and_days_count_plainly():
    assert dates("2024-02-26", None, Interval("week", 2), 3) == ["2024-02-26", "2024-03-11", "2024-03-25"]
    assert dates("2024-02-28", None, Interval("day", 1), 3) == ["2024-02-28", "2024-02-29", "2024-03-01"]


@given(
    st.dates(date(2000, 1, 1), date(2060, 1, 1)),
    st.dates(date(2000, 1, 1), date(2060, 1, 1)),
    st.integers(1, 31),
    st.builds(Interval, st.sampled_from(["day", "week", "month", "year"]), st.integers(1, 12)),
)
def test_every_day_lies_in_exactly_one_full_period(start, day, anchor, interval):
    grid = Grid.from_first(start, anchor, interval)
    period = grid.period_containing(day)
    assert period.start <= day < period.end
    assert grid.period_containing(period.start) == period
    assert grid.period_containing(period.end).start == period.end
    assert grid.period_containing(period.start - timedelta(days=1)).end == period.start


@given(st.dates(date(2000, 1, 1), date(2060, 1, 1)), st.integers(1, 31))
def test_the_first_anchor_day_is_at_most_a_month_away(start, day):
    anchor = first_anchor_on_or_after(start, day)
    assert 0 <= (anchor - start).days <= 31
    assert anchor.day == day or (anchor + timedelta(days=1)).day == 1


@pytest.mark.parametrize(
    ("zone", "day", "moment"),
    [
        ("UTC", date(2024, 3, 10), datetime(2024, 3, 10, tzinfo=UTC)),
        ("America/New_York", date(2024, 3, 11), datetime(2024, 3, 11, 4, tzinfo=UTC)),
        ("Asia/Kathmandu", date(2024, 3, 10), datetime(2024, 3, 9, 18, 15, tzinfo=UTC)),
    ],
)
def test_a_civil_day_begins_at_its_own_midnight(zone, day, moment):
    assert start_of_day(day, zone) == moment


@given(
    st.dates(date(2000, 1, 1), date(2040, 1, 1)),
    st.sampled_from(["UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Kathmandu", "Africa/Cairo"]),
)
def test_the_moment_a_day_begins_lies_on_that_day(day, zone):
    """Even if midnight does not exist on the day the clocks change."""
    assert civil_day(start_of_day(day, zone), zone) == day
