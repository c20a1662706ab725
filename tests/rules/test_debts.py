from datetime import date

import pytest

from streamsvc.rules.billing.debts import Debt, next_step_on, overdue_since, status_for_balance
from streamsvc.rules.billing.dunning import DunningSchedule

SCHEDULE = DunningSchedule()


@pytest.mark.parametrize(
    ("status", "balance_minor", "expected"),
    [
        ("open", 1, "open"),
        ("open", 0, "paid"),
        ("open", -1, "paid"),
        ("paid", 0, "paid"),
        ("paid", -1, "paid"),
        ("paid", 1, "open"),
        ("draft", 0, "draft"),
        ("draft", 1, "draft"),
        ("void", 0, "void"),
        ("void", 1, "void"),
        ("uncollectible", 0, "uncollectible"),
        ("uncollectible", 1, "uncollectible"),
    ],
)
def test_the_balance_decides_whether_an_invoice_is_open_or_paid(status, balance_minor, expected):
    assert status_for_balance(status, balance_minor) == expected


def debt(first_failed_on=None, next_attempt_on=None, is_attempted=True, **more):
    return Debt(first_failed_on, next_attempt_on, is_attempted, **more)


def test_a_case_begins_with_its_oldest_debt():
    oldest, newest = date(2026, 4, 1), date(2026, 4, 9)
    assert overdue_since([debt(newest), debt(oldest), debt()]) == oldest
    assert overdue_since([debt(), debt()]) is None


def test_the_next_step_is_the_first_attempt_or_else_the_write_off():
    today, since = date(2026, 4, 2), date(2026, 4, 1)
    retried, exhausted = debt(since, date(2026, 4, 4)), debt(since)
    assert next_step_on([exhausted, retried], SCHEDULE, today) == date(2026, 4, 4)
    assert next_step_on([exhausted], SCHEDULE, today) == date(2026, 4, 22)
    assert next_step_on([debt(is_attempted=False), exhausted], SCHEDULE, today) == today
    assert next_step_on([], SCHEDULE, today) is None


def test_a_debt_that_waits_for_another_account_is_still_retried_but_not_written_off():
    waiting = debt(date(2026, 4, 1), waits_for_other=True)
    assert next_step_on([waiting], SCHEDULE, date(2026, 5, 1)) is None
    waiting = debt(date(2026, 4, 1), date(2026, 4, 4), waits_for_other=True)
    assert next_step_on([waiting], SCHEDULE, date(2026, 4, 2)) == date(2026, 4, 4)


def test_a_debt_is_due_on_the_day_of_its_next_attempt_or_if_it_was_never_attempted():
    today = date(2026, 4, 4)
    assert debt(date(2026, 4, 1), today).is_due(today)
    assert debt(is_attempted=False).is_due(today)
    assert not debt(date(2026, 4, 1), date(2026, 4, 5)).is_due(today)
    assert not debt(date(2026, 4, 1)).is_due(today)
