from datetime import date, timedelta

import pytest

from streamsvc.rules.billing.pauses import Pause, PauseRules

FIRST = date(2026, 1, 1)


def pauses(*days, frozen_days=5):
    """Return pauses of six days that begin on these days, counted from 1 January."""
    starts = [FIRST + timedelta(days=day) for day in days]
    return [Pause(start, start + timedelta(days=6), frozen_days) for start in starts]


def test_the_setting_is_parsed():
    assert PauseRules.parse("min=7 per_year=2 cool_down=14") == PauseRules(7, 2, 14)


@pytest.mark.parametrize(("days", "freezes"), [(0, False), (2, False), (3, True)])
def test_a_pause_freezes_days_from_its_minimum_length_on(days, freezes):
    assert PauseRules(3, 3, 30).freezes(FIRST, FIRST + timedelta(days=days)) is freezes


@pytest.mark.parametrize(
    ("earlier", "day"),
    [
        ((), None),
        ((10,), 46),
        ((10, 100), 136),
        ((10, 100, 200), 375),
        ((10, 50, 200, 360), 415),
        ((10, 345, 350), 386),
        ((0, 20, 360), 396),
    ],
)
def test_the_next_pause_waits_for_the_cool_down_and_for_the_year(earlier, day):
    assert PauseRules(3, 3, 30).next_pause_from(pauses(*earlier)) == (day and FIRST + timedelta(days=day))


def test_pauses_that_froze_nothing_do_not_count():
    assert PauseRules(3, 1, 30).next_pause_from(pauses(10, frozen_days=0)) is None
