"""Whatever is changed, in whatever order: no day is used at a tier that is not paid for, and no credit is too large."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import date, timedelta
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from streamsvc.rules.billing import facts as fact
from streamsvc.rules.billing.calendar import Interval
from streamsvc.rules.billing.changes import first_day_after_cancellation, first_day_of_new_price
from streamsvc.rules.billing.lines import replay_timeline
from streamsvc.rules.billing.pauses import PauseRules

ITEM = "extra"
LIMITS = PauseRules(min_days=3, per_year=99, cool_down_days=0)
MONTH, YEAR, WEEK = Interval("month"), Interval("year"), Interval("week")
amounts = st.one_of(st.integers(1, 60), st.integers(100, 5000))
STEPS = ("change", "change", "change", "add", "remove", "pause", "resume")


@dataclass
class Customer:
    """A greedy customer: what happened, and the price of each item on each day on which it was watchable."""

    prices: list[fact.PriceTerms]
    today: date
    facts: fact.Facts = fact.Facts(())
    current: fact.PriceTerms = None
    addon: fact.PriceTerms | None = None
    is_paused: bool = False
    used: dict[tuple[str, date], fact.PriceTerms] = field(default_factory=dict)
    replayed: tuple | None = None

    def record(self, event_type, *details):
        ref = f"e{len(self.facts.events)}"
        self.facts = self.facts.with_events(event_type(ref, self.today, *details))
        self.replayed = None

    @property
    def timeline(self):
        if self.replayed is None or self.replayed[0] != self.today:
            self.replayed = self.today, replay_timeline(self.facts, self.today)
        return self.replayed[1]

    def lines(self):
        return [line for line in self.timeline.lines if line.kind != "trial"]

    def watch(self):
        """Use what is there now; a day counts at the dearest price that it had. The trial of the plan is free."""
        if self.is_paused:
            return
        is_trial = self.timeline.trial_end is not None and self.today < self.timeline.trial_end
        for item, price in ((fact.BASE_ITEM, None if is_trial else self.current), (ITEM, self.addon)):
            if price:
                self.used[item, self.today] = max(self.used.get((item, self.today), price), price, key=cost_per_day)

    def go_to(self, day):
        while self.today < day:
            self.watch()
            self.today += timedelta(days=1)
        self.watch()

    def change(self, choice):
        price = self.prices[choice % len(self.prices)]
        if self.is_paused or price == self.current or (self.addon and price.interval != self.current.interval):
            return
        effective = self.today
        if self.timeline.paid_through:
            effective = first_day_of_new_price(self.timeline.price_used_on(self.today), price, self.today)
        self.record(fact.PriceChanged, price, effective, None, first_day_after_cancellation(self.today))
        self.current = price

    def add(self, choice):
        if not self.is_paused and self.addon is None:
            self.addon = fact.PriceTerms("addon", 1 + choice, self.current.interval)
            self.record(fact.AddonAdded, ITEM, self.addon)

    def remove(self, choice):
        if not self.is_paused and self.addon:
            self.addon = None
            self.record(fact.AddonRemoved, ITEM, first_day_after_cancellation(self.today))

    def pause(self, choice):
        if not self.is_paused:
            self.record(fact.Paused, first_day_after_cancellation(self.today))
            self.is_paused = True

    def resume(self, choice):
        if self.is_paused:
            self.record(fact.Resumed, LIMITS.freezes(self.timeline.paused_on, self.today))
            self.is_paused = False

    def cancel(self):
        self.record(fact.Canceled, self.timeline.frozen_from or first_day_after_cancellation(self.today))


def cost_per_day(price):
    """Return the price for one day of an average month or year."""
    days = Fraction(146_097 * price.interval.months, 4800) if price.interval.months else price.interval.days
    return Fraction(price.amount_minor) / days


@st.composite
def lives(draw):
    """A customer who made up to 25 changes, several of them on one day, and canceled at the end."""
    intervals = draw(st.sampled_from([(MONTH,), (MONTH, YEAR), (WEEK, MONTH), (YEAR,)]))
    terms = [
        fact.PriceTerms(f"p{n}", draw(amounts), draw(st.sampled_from(intervals)), draw(st.sampled_from([0, 14])))
        for n in range(draw(st.integers(2, 4)))
    ]
    start = draw(st.dates(date(2023, 1, 1), date(2024, 12, 31)))
    customer = Customer(terms, start, current=terms[0])
    customer.record(fact.Started, terms[0], start, None, draw(st.sampled_from([0, 0, 5, 14])))
    customer.watch()
    for _ in range(draw(st.integers(1, 25))):
        customer.go_to(customer.today + timedelta(days=draw(st.sampled_from([0, 0, 1, 1, 2, 3, 8, 30]))))
        getattr(customer, draw(st.sampled_from(STEPS)))(draw(st.integers(0, 900)))
        customer.watch()
    customer.cancel()
    return customer


@settings(max_examples=100, deadline=None)
@given(lives())
def test_no_line_is_credited_beyond_its_amount(customer):
    charged, credited = {}, Counter()
    for line in customer.lines():
        if line.kind == "charge":
            charged[line.identity] = line.amount_minor
        else:
            credited[line.credited_identity] -= line.amount_minor
    assert all(0 <= amount <= charged[identity] for identity, amount in credited.items())


@settings(max_examples=100, deadline=None)
@given(lives())
def test_no_more_days_are_used_at_a_tier_than_are_paid_for_at_it(customer):
    prices = {price.id: price for price in customer.prices}
    for item in (fact.BASE_ITEM, ITEM):
        lines = [line for line in customer.lines() if line.item == item]
        used = [cost_per_day(price) for (used_item, _), price in customer.used.items() if used_item == item]
        for tier in set(used):
            paid = sum(
                line.days if line.kind == "charge" else -line.days
                for line in lines
                if item == ITEM or cost_per_day(prices[line.price_id]) >= tier
            )
            assert paid >= (sum(cost >= tier for cost in used) if item == fact.BASE_ITEM else len(used))


@settings(max_examples=100, deadline=None)
@given(lives())
def test_what_is_paid_in_the_end_is_the_share_of_the_used_days_but_for_a_rounding_a_line(customer):
    prices = {price.id: price for price in customer.prices}
    lines = [line for line in customer.lines() if line.item == fact.BASE_ITEM]
    full_days = {line.identity: line.full_days for line in lines}
    share, kept = Fraction(0), Counter()
    for line in lines:
        amount = prices[line.price_id].amount_minor
        if line.kind == "charge":
            share += Fraction(amount * line.days, line.full_days)
            kept[line.identity] += line.amount_minor
        else:
            share -= Fraction(amount * line.days, full_days[line.credited_identity])
            kept[line.credited_identity] += line.amount_minor
    assert abs(sum(kept.values()) - share) <= len(kept)


def test_the_check_detects_a_used_day_that_is_given_back():
    """The day of a change to a cheaper price would belong to it, as it once did."""
    start = date(2026, 4, 1)
    dear, cheap = fact.PriceTerms("p0", 3000, MONTH), fact.PriceTerms("p1", 1000, MONTH)
    customer = Customer([dear, cheap], start, current=dear)
    customer.record(fact.Started, dear, start)
    customer.go_to(date(2026, 4, 10))
    customer.record(fact.PriceChanged, cheap, customer.today)
    customer.cancel()
    paid = sum(
        line.days if line.kind == "charge" else -line.days for line in customer.timeline.lines if line.price_id == "p0"
    )
    assert (paid, sum(price == dear for price in customer.used.values())) == (9, 10)
