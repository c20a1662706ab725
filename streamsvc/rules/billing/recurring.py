"""Monthly recurring revenue (MRR), its movements and retention, from each account's rate day by day.

The rate is the price in force per month, less recurring coupons, without tax; an introductory price counts at its own
amount. It starts with the first charged period, so a trial has none; it is zero during a pause, and ends when the end
of the subscription is known. Later events never change the rate of a past day.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import groupby

from streamsvc.rules.billing.changes import MONTHS_IN_400_YEARS, cost_per_400_years
from streamsvc.rules.billing.facts import PriceTerms
from streamsvc.rules.billing.invoicing import PPM, CouponTerms
from streamsvc.rules.money import round_half_up

NEW, EXPANSION, CONTRACTION, CHURN, REACTIVATION = "new", "expansion", "contraction", "churn", "reactivation"
MOVEMENTS = (NEW, EXPANSION, CONTRACTION, CHURN, REACTIVATION)
INVOLUNTARY_REASONS = ("payment_failed", "trial_without_payment_method")
"""Cancellation reasons that count as involuntary churn."""


def monthly_rate(price: PriceTerms, coupons: Iterable[CouponTerms] = (), included_tax_ppm: int = 0) -> int:
    """Return the price less these coupons, in order, per month of average length, in minor units; rounded half up once.

    `price`: PriceTerms. `coupons`: [CouponTerms]. `included_tax_ppm`: the rate of the tax in the price, which
    is not revenue.
    """
    amount = price.amount_minor
    for coupon in coupons:
        amount -= coupon.discount_on(amount)
    cost, length = cost_per_400_years(replace(price, amount_minor=amount))
    return round_half_up(cost * PPM, length * MONTHS_IN_400_YEARS * (PPM + included_tax_ppm))


@dataclass(frozen=True)
class RateStep:
    """A change from the day `on`: of the rate or the quantity of one `item`, or of the state of the subscription."""

    on: date
    subscription_id: str
    kind: str
    """rate (of a unit of an item) or quantity; pause, resume or end (of the subscription)."""
    item: str = ""
    rate_minor: int = 0
    quantity: int = 1
    involuntary: bool = False


@dataclass(frozen=True)
class Movement:
    """A change of one account's rate from `before_minor` to `after_minor` on a day."""

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
    """The current rate of one subscription."""

    items: dict[str, int] = field(default_factory=dict)
    quantities: dict[str, int] = field(default_factory=dict)
    paused: bool = False
    ended: bool = False

    def apply_step(self, step: RateStep) -> None:
        if step.kind == "rate":
            self.items[step.item] = step.rate_minor
        elif step.kind == "quantity":
            self.quantities[step.item] = step.quantity
        else:
            self.paused = step.kind == "pause"
            self.ended = self.ended or step.kind == "end"

    @property
    def total_minor(self) -> int:
        if self.paused or self.ended:
            return 0
        return sum(rate_minor * self.quantities.get(item, 1) for item, rate_minor in self.items.items())


def compute_movements(steps: Iterable[RateStep]) -> list[Movement]:
    """Return the movements of one account's rate, in one currency, at most one a day.

    A change undone on the same day does not appear. The account is a subscriber from its first rate to the end of its
    subscription, also during a pause.
    """
    rates: dict[str, _SubscriptionRate] = {}
    movements, before, was_subscriber, was_ever = [], 0, False, False
    for on, today in groupby(sorted(steps, key=lambda step: step.on), key=lambda step: step.on):
        involuntary = False
        for step in today:
            rates.setdefault(step.subscription_id, _SubscriptionRate()).apply_step(step)
            involuntary |= step.involuntary
        after = sum(rate.total_minor for rate in rates.values())
        is_subscriber = after > 0 or (was_subscriber and not all(rate.ended for rate in rates.values()))
        if is_subscriber != was_subscriber:
            kind = CHURN if was_subscriber else REACTIVATION if was_ever else NEW
        else:
            kind = EXPANSION if after > before else CONTRACTION
        if after != before or is_subscriber != was_subscriber:
            movements.append(Movement(on, kind, before, after, kind == CHURN and involuntary))
        before, was_subscriber, was_ever = after, is_subscriber, was_ever or is_subscriber
    return movements


@dataclass(frozen=True)
class ReportPeriod:
    """The days [start, end) that a report shows under one label."""

    label: str
    start: date
    end: date

    def contains(self, day: date) -> bool:
        """Return whether the day lies in the period."""
        return self.start <= day < self.end


def report_periods(start: date, end: date, interval: str) -> list[ReportPeriod]:
    """Return the calendar months or days of [start, end), oldest first; the first and last may be partial."""
    periods = []
    while start < end:
        label = start.isoformat() if interval == "day" else f"{start:%Y-%m}"
        following = date.fromordinal(start.toordinal() + 1) if interval == "day" else _next_month(start)
        periods.append(ReportPeriod(label, start, min(following, end)))
        start = following
    return periods


def _next_month(day: date) -> date:
    return date(day.year + day.month // 12, day.month % 12 + 1, 1)
