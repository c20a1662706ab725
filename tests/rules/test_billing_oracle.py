"""Compares the rules with a second, independent implementation of the conventions: they agree to the cent."""

import random
from calendar import monthrange
from datetime import date, timedelta
from fractions import Fraction
from itertools import pairwise
from math import floor

import pytest

from streamsvc.rules.billing import facts as fact
from streamsvc.rules.billing.calendar import Interval
from streamsvc.rules.billing.changes import first_day_of_new_price
from streamsvc.rules.billing.lines import replay_timeline

SUBSCRIPTIONS_PER_SEED = 250


def prorate(amount, days, of):
    return floor(Fraction(amount * days, of) + Fraction(1, 2))


def anchor_date(year, month, day):
    year, month = year + (month - 1) // 12, (month - 1) % 12 + 1
    return date(year, month, min(day, monthrange(year, month)[1]))


def expected_lines(start, day, months, prices, changes, canceled_on, until):
    """Return the lines, period by period: a change credits the rest of the previous line and charges its own.

    A change to a lower price is charged from the next day on, or with the period that starts then.
    """
    first = start.month + (anchor_date(start.year, start.month, day) < start)
    dates = [anchor_date(start.year, first + n * months, day) for n in range(-1, 60)]
    moves = [
        (on if new >= old else on + timedelta(days=1), on, new)
        for on, (old, new) in zip(changes, pairwise(prices), strict=True)
    ]
    price, lines, begin = prices[0], [], start
    for full_start, end in pairwise(dates):
        if end <= start or begin > until or begin == canceled_on:
            continue
        while moves and moves[0][0] == begin > moves[0][1]:
            price = moves.pop(0)[2]
        live = (begin, prorate(price, (end - begin).days, (end - full_start).days))
        lines.append(("charge", begin, end, live[1]))
        while moves and moves[0][0] < end:
            at, _, price = moves.pop(0)
            lines.append(("credit", at, end, -prorate(live[1], (end - at).days, (end - live[0]).days)))
            live = (at, prorate(price, (end - at).days, (end - full_start).days))
            lines.append(("charge", at, end, live[1]))
        if canceled_on and canceled_on < end:
            lines.append(
                ("credit", canceled_on, end, -prorate(live[1], (end - canceled_on).days, (end - live[0]).days))
            )
            break
        begin = end
    return lines


def draw_subscription(rng):
    """Draw a subscription: start, anchor day, months, prices, days of change, end, and the day to bill until."""
    start = date(2023, 1, 1) + timedelta(days=rng.randrange(1500))
    changes = sorted(start + timedelta(days=day) for day in rng.sample(range(500), rng.randrange(5)))
    prices = [rng.randrange(100_000) for _ in range(len(changes) + 1)]
    until = (changes or [start])[-1] + timedelta(days=rng.randrange(200))
    canceled_on = until + timedelta(days=1) if rng.random() < 0.5 else None
    day = rng.choice([start.day, start.day, 29, 30, 31, rng.randint(1, 31)])
    return start, day, rng.choice([1, 1, 1, 2, 3, 6, 12]), prices, changes, canceled_on, until


@pytest.mark.parametrize("seed", [1, 2])
def test_the_rules_agree_with_a_second_implementation(seed):
    rng = random.Random(seed)
    for _ in range(SUBSCRIPTIONS_PER_SEED):
        start, day, months, prices, changes, canceled_on, until = draw_subscription(rng)
        terms = [fact.PriceTerms(str(n), amount, Interval("month", months)) for n, amount in enumerate(prices)]
        events = [fact.Started("e0", start, terms[0], start, day)]
        events += [
            fact.PriceChanged(f"e{n}", on, terms[n], first_day_of_new_price(terms[n - 1], terms[n], on))
            for n, on in enumerate(changes, 1)
        ]
        events += [fact.Canceled("end", until, canceled_on)] if canceled_on else []
        lines = replay_timeline(fact.Facts(tuple(events)), until).lines
        actual = [(line.kind, line.period.start, line.period.end, line.amount_minor) for line in lines]
        expected = expected_lines(start, day, months, prices, changes, canceled_on, until)
        assert sorted(actual) == sorted(expected), (start, day, months, prices, changes, canceled_on, until)
