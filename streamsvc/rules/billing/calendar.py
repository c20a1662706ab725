"""Civil dates and billing periods, counted from the original anchor: 31 January, 28 February, 31 March."""

from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import overload
from zoneinfo import ZoneInfo

MONTHS_PER_UNIT = {"month": 1, "year": 12}
DAYS_PER_UNIT = {"day": 1, "week": 7}
Day = date
"""A civil date, in the class whose own `date` is a method."""


def civil_day(moment: datetime, zone: str) -> date:
    """Return the calendar date of a moment in the IANA time zone."""
    return moment.astimezone(ZoneInfo(zone)).date()


def start_of_day(day: date, zone: str) -> datetime:
    """Return the moment at which the civil day starts in the time zone, in UTC."""
    return datetime.combine(day, time.min, ZoneInfo(zone)).astimezone(UTC)


@overload
def resolve_moment(moment_or_day: date, zone: str) -> datetime: ...


@overload
def resolve_moment(moment_or_day: None, zone: str) -> None: ...


def resolve_moment(moment_or_day: date | None, zone: str) -> datetime | None:
    """Return a moment (or None) unchanged, and a civil day as the moment at which it starts in the time zone."""
    if moment_or_day is None or isinstance(moment_or_day, datetime):
        return moment_or_day
    return start_of_day(moment_or_day, zone)


def add_days(day: date, days: int) -> date:
    """Return the date `days` after `day`."""
    return day + timedelta(days=days)


@dataclass(frozen=True)
class Interval:
    """The length of a period: `count` units of day, week, month or year."""

    unit: str
    count: int = 1

    @property
    def months(self) -> int:
        return MONTHS_PER_UNIT.get(self.unit, 0) * self.count

    @property
    def days(self) -> int:
        return DAYS_PER_UNIT.get(self.unit, 0) * self.count

    @property
    def is_whole_years(self) -> bool:
        """Return whether periods of this length start in the same month each time, so that there is an anchor month."""
        return self.months > 0 and self.months % MONTHS_PER_UNIT["year"] == 0


@dataclass(frozen=True)
class Period:
    """The half-open range of days [start, end)."""

    start: date
    end: date

    @property
    def days(self) -> int:
        return (self.end - self.start).days


@dataclass(frozen=True)
class Grid:
    """The dates on which periods start: `origin` and whole intervals before and after it.

    `day` is the anchor day of the month, 1-31, as requested; each date clamps it to the length of its own month.
    Intervals of days and weeks ignore it.
    """

    origin: Day
    day: int
    interval: Interval

    @classmethod
    def from_first(
        cls, start: Day, anchor_day: int | None, interval: Interval, anchor_month: int | None = None
    ) -> "Grid":
        """Return the grid whose origin is the first anchor day on or after `start`; in the anchor month, if given."""
        day = anchor_day or start.day
        origin = first_anchor_on_or_after(start, day, anchor_month) if interval.months else start
        return cls(origin, day, interval)

    def date(self, n: int) -> Day:
        """Return the n-th date of the grid: 0 is the origin, negative numbers lie before it."""
        if self.interval.days:
            return add_days(self.origin, n * self.interval.days)
        return day_in_month(self.origin.year, self.origin.month + n * self.interval.months, self.day)

    def period_containing(self, day: Day) -> Period:
        """Return the full period that contains the day."""
        if self.interval.days:
            n = (day - self.origin).days // self.interval.days
        else:
            months = (day.year - self.origin.year) * 12 + day.month - self.origin.month
            n = months // self.interval.months
            n -= self.date(n) > day
        return Period(self.date(n), self.date(n + 1))


def day_in_month(year: int, month: int, day: int) -> date:
    """Return that day of the month, or the month's last day. `month` may exceed 12 or be below 1."""
    year, month0 = year + (month - 1) // 12, (month - 1) % 12
    return date(year, month0 + 1, min(day, monthrange(year, month0 + 1)[1]))


def first_anchor_on_or_after(start: date, day: int, month: int | None = None) -> date:
    """Return the first date on or after `start` that is the month's `day`, or the last day of a shorter month.

    With `month` (1 to 12), the first one in that month of the year.
    """
    anchor = day_in_month(start.year, month or start.month, day)
    following_months = 12 if month else 1
    return anchor if anchor >= start else day_in_month(anchor.year, anchor.month + following_months, day)
