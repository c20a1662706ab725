"""Civil dates: periods are counted from the original anchor, so that 31 January comes back as 31 March."""

from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

MONTHS_PER_UNIT = {"month": 1, "year": 12}
DAYS_PER_UNIT = {"day": 1, "week": 7}


def civil_day(moment, zone):
    """The date that a moment has for someone who lives in the IANA zone."""
    return moment.astimezone(ZoneInfo(zone)).date()


def start_of_day(day, zone):
    """The moment a civil day begins in the zone, in UTC."""
    return datetime.combine(day, time.min, ZoneInfo(zone)).astimezone(UTC)


def resolve_moment(moment_or_day, zone):
    """A moment as it is; of a civil day, the one at which it begins in the zone."""
    return (
        moment_or_day
        if moment_or_day is None or isinstance(moment_or_day, datetime)
        else start_of_day(moment_or_day, zone)
    )


def add_days(day, days):
    return day + timedelta(days=days)


@dataclass(frozen=True)
class Interval:
    """How long a period is: unit day, week, month or year, and how many of them."""

    unit: str
    count: int = 1

    @property
    def months(self):
        return MONTHS_PER_UNIT.get(self.unit, 0) * self.count

    @property
    def days(self):
        return DAYS_PER_UNIT.get(self.unit, 0) * self.count


@dataclass(frozen=True)
class Period:
    """Half-open: `start` is in it, `end` is the first day after it."""

    start: date
    end: date

    @property
    def days(self):
        return (self.end - self.start).days


@dataclass(frozen=True)
class Grid:
    """The dates on which periods begin: `origin` and whole intervals before and after it.

    `day` is the anchor day of the month, 1-31, kept as asked for: each date clamps it anew to its own month.
    Intervals of days and weeks have no use for it.
    """

    origin: date
    day: int
    interval: Interval

    @classmethod
    def from_first(cls, start, anchor_day, interval):
        """The grid whose origin is the first anchor day on or after `start`."""
        day = anchor_day or start.day
        origin = first_anchor_on_or_after(start, day) if interval.months else start
        return cls(origin, day, interval)

    def date(self, n):
        """The n-th date of the grid; 0 is the origin, negative ones lie before it."""
        if self.interval.days:
            return add_days(self.origin, n * self.interval.days)
        return day_in_month(self.origin.year, self.origin.month + n * self.interval.months, self.day)

    def period_containing(self, day):
        """The full period that holds the day."""
        if self.interval.days:
            n = (day - self.origin).days // self.interval.days
        else:
            months = (day.year - self.origin.year) * 12 + day.month - self.origin.month
            n = months // self.interval.months
            n -= self.date(n) > day
        return Period(self.date(n), self.date(n + 1))


def day_in_month(year, month, day):
    """That day of the month or the month's last; `month` may run past 12 or below 1."""
    year, month0 = year + (month - 1) // 12, (month - 1) % 12
    return date(year, month0 + 1, min(day, monthrange(year, month0 + 1)[1]))


def first_anchor_on_or_after(start, day):
    """The first date on or after `start` that is the month's `day`, or its last where the month is shorter."""
    this = day_in_month(start.year, start.month, day)
    return this if this >= start else day_in_month(start.year, start.month + 1, day)
