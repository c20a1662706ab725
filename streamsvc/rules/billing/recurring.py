"""What subscriptions bring in a month (MRR), how it moves, and who stays: from each account's rate day by day.

The rate is the price in force, less coupons that recur, without tax, by the month; an introductory price counts as
what it is. It begins with the first period that is charged, so a trial has none; it rests during a pause; it ends when
the end of the subscription is known. Nothing that comes later changes a day that has passed.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from itertools import groupby

from streamsvc.rules.billing.changes import cost_per_400_years
from streamsvc.rules.billing.invoicing import PPM
from streamsvc.rules.money import round_half_up

MONTHS_IN_400_YEARS = 4_800
NEW, EXPANSION, CONTRACTION, CHURN, REACTIVATION = "new", "expansion", "contraction", "churn", "reactivation"
MOVEMENTS = (NEW, EXPANSION, CONTRACTION, CHURN, REACTIVATION)
INVOLUNTARY_REASONS = ("payment_failed", "trial_without_payment_method")
"""Reasons to end that the viewer did not choose."""


def monthly_rate(price, coupons=(), included_tax_ppm: int = 0) -> int:
    """What a price with these coupons, in order, comes to in a month of average length; rounded once, half up.

    `held_ppm` is the rate of the tax that the price holds: it is none of ours.
    """
    amount = price.amount_minor
    for coupon in coupons:
        amount -= coupon.discount_on(amount)
    whole, length = cost_per_400_years(replace(price, amount_minor=amount))
    return round_half_up(whole * PPM, length * MONTHS_IN_400_YEARS * (PPM + included_tax_ppm))


@dataclass(frozen=True)
class RateStep:
    """From the day `on`, a subscription's `item` has this monthly rate, or the whole of it does what `what` says."""

    on: date
    subscription_id: str
    kind: str
    """rate, pause, resume, end."""
    item: str = ""
    rate_minor: int = 0
    involuntary: bool = False


@dataclass(frozen=True)
class Movement:
    """One account's rate went from `before_minor` to `after_minor` on a day."""

    on: date
    kind: str
    before_minor: int
    after_minor: int
    involuntary: bool = False

    @property
    def amount_minor(self) -> int:
        return self.after_minor - self.before_minor


@dataclass
class _SubscriptionRate:
    """Where one subscription stands."""

    items: dict
    paused: bool = False
    ended: bool = False

    def apply_step(self, step: RateStep) -> None:
        if step.kind == "rate":
            self.items[step.item] = step.rate_minor
        else:
            self.paused = step.kind == "pause"
            self.ended = self.ended or step.kind == "end"

    @property
    def total_minor(self) -> int:
        return 0 if self.paused or self.ended else sum(self.items.values())


def compute_movements(steps: Iterable[RateStep]) -> list[Movement]:
    """How one account's rate moved, in one currency: at most one movement a day, so that what is undone is not seen.

    From its first rate to the end of its subscription the account is a subscriber, also while it pauses.
    """
    rates: dict[str, _SubscriptionRate] = {}
    found, before, subscribed, ever = [], 0, False, False
    for on, today in groupby(sorted(steps, key=lambda step: step.on), key=lambda step: step.on):
        involuntary = False
        for step in today:
            rates.setdefault(step.subscription_id, _SubscriptionRate({})).apply_step(step)
            involuntary |= step.involuntary
        after = sum(one.total_minor for one in rates.values())
        is_there = after > 0 or (subscribed and not all(one.ended for one in rates.values()))
        if is_there != subscribed:
            kind = CHURN if subscribed else REACTIVATION if ever else NEW
        else:
            kind = EXPANSION if after > before else CONTRACTION
        if after != before or is_there != subscribed:
            found.append(Movement(on, kind, before, after, kind == CHURN and involuntary))
        before, subscribed, ever = after, is_there, ever or is_there
    return found


@dataclass(frozen=True)
class ReportPeriod:
    """A stretch of days, `end` not included, under the name that a report gives it."""

    label: str
    start: date
    end: date

    def contains(self, day: date) -> bool:
        return self.start <= day < self.end


def report_periods(start: date, end: date, interval: str) -> list[ReportPeriod]:
    """The calendar months, or days, of [start, end); the first and the last may be cut short."""
    found = []
    while start < end:
        label = start.isoformat() if interval == "day" else f"{start:%Y-%m}"
        following = date.fromordinal(start.toordinal() + 1) if interval == "day" else _next_month(start)
        found.append(ReportPeriod(label, start, min(following, end)))
        start = following
    return found


def _next_month(day: date) -> date:
    return date(day.year + day.month // 12, day.month % 12 + 1, 1)
