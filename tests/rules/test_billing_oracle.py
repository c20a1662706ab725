"""A second reckoning of the conventions, written from their words alone, against the rules: they agree to the cent."""

import random
from calendar import monthrange
from datetime import date, timedelta
from fractions import Fraction
from itertools import pairwise
from math import floor

import pytest

from streamsvc.rules.billing import facts as fact
from streamsvc.rules.billing.calendar import Interval
from streamsvc.rules.billing.lines import replay_timeline

LIVES = 250


def part(amount, days, of):
    return floor(Fraction(amount * days, of) + Fraction(1, 2))


def anchor_date(year, month, day):
    year, month = year + (month - 1) // 12, (month - 1) % 12 + 1
    return date(year, month, min(day, monthrange(year, month)[1]))


def reckoned(start, day, months, prices, changes, over, until):
    """The lines, period by period: a change credits what is left of the line before and charges its own rest."""
    first = start.month + (anchor_date(start.year, start.month, day) < start)
    dates = [anchor_date(start.year, first + n * months, day) for n in range(-1, 60)]
    price, changes, lines, begin = prices[0], list(zip(changes, prices[1:], strict=True)), [], start
    for full_start, end in pairwise(dates):
        if end <= start or begin > until or begin == over:
            continue
        live = (begin, part(price, (end - begin).days, (end - full_start).days))
        lines.append(("charge", begin, end, live[1]))
        while changes and changes[0][0] < end:
            at, price = changes.pop(0)
            lines.append(("credit", at, end, -part(live[1], (end - at).days, (end - live[0]).days)))
            live = (at, part(price, (end - at).days, (end - full_start).days))
            lines.append(("charge", at, end, live[1]))
        if over and over < end:
            lines.append(("credit", over, end, -part(live[1], (end - over).days, (end - live[0]).days)))
            break
        begin = end
    return lines


def drawn(chance):
    """A life: its start, anchor, interval, prices, days of change, end, and the day it is looked at."""
    start = date(2023, 1, 1) + timedelta(days=chance.randrange(1500))
    changes = sorted(start + timedelta(days=chance.randrange(500)) for _ in range(chance.randrange(5)))
    prices = [chance.randrange(100_000) for _ in range(len(changes) + 1)]
    until = (changes or [start])[-1] + timedelta(days=chance.randrange(200))
    over = until + timedelta(days=1) if chance.random() < 0.5 else None
    day = chance.choice([start.day, start.day, 29, 30, 31, chance.randint(1, 31)])
    return start, day, chance.choice([1, 1, 1, 2, 3, 6, 12]), prices, changes, over, until


@pytest.mark.parametrize("seed", [1, 2])
def test_the_rules_agree_with_a_second_implementation(seed):
    chance = random.Random(seed)
    for _ in range(LIVES):
        start, day, months, prices, changes, over, until = drawn(chance)
        terms = [fact.PriceTerms(str(n), amount, Interval("month", months)) for n, amount in enumerate(prices)]
        events = [fact.Started("e0", start, terms[0], start, day)]
        events += [fact.PriceChanged(f"e{n}", on, terms[n], on) for n, on in enumerate(changes, 1)]
        events += [fact.Canceled("end", until, over)] if over else []
        lines = replay_timeline(fact.Facts(tuple(events)), until).lines
        came = [(line.kind, line.period.start, line.period.end, line.amount_minor) for line in lines]
        expected = reckoned(start, day, months, prices, changes, over, until)
        assert sorted(came) == sorted(expected), (start, day, months, prices, changes, over, until)
