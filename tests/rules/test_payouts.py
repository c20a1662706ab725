"""Where credit came from, how a payout is divided, and what its parts make of its status."""

import pytest

from streamsvc.rules.billing.gifts import GiftAmounts
from streamsvc.rules.billing.payouts import CreditMovement, divide_payout, payout_status, trace_credit


def traced(*movements):
    return trace_credit(CreditMovement(*movement) for movement in movements)


def test_given_credit_is_spent_first_and_comes_back_first():
    assert traced(("given", 500), ("money", 1000)) == (1000, 500)
    assert traced(("given", 500), ("money", 1000), ("invoice", -700)) == (800, 0)
    assert traced(("given", 500), ("money", 1000), ("invoice", -700), ("invoice", 600)) == (900, 500)
    assert traced(("invoice", 600)) == (600, 0)  # paid by card, and canceled
    assert traced(("given", 500), ("invoice", -500), ("invoice", 200), ("invoice", 400)) == (100, 500)


def test_credit_that_is_taken_back_was_given():
    assert traced(("given", 500), ("money", 300), ("given", -500)) == (300, 0)
    assert traced(("given", 500), ("invoice", -400), ("money", 300), ("given", -200)) == (200, 0)


def test_a_payout_takes_money_first_and_returns_as_what_it_was():
    assert traced(("given", 500), ("money", 300), ("payout", -400)) == (0, 400)
    assert traced(("given", 500), ("money", 300), ("payout", -400), ("payout", 400)) == (300, 500)


def test_a_payout_is_divided_in_order():
    assert divide_payout(700, [300, 500, 200]) == ([300, 400, 0], 0)
    assert divide_payout(700, [300]) == ([300], 400)
    assert divide_payout(1199, [405, 1000], step_minor=10) == ([400, 790], 9)


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ([("succeeded", 300), ("paid", 400)], ("paid", 700)),
        ([("succeeded", 300), ("unknown", 400)], ("pending", 300)),
        ([("succeeded", 300), ("failed", 400)], ("partly_paid", 300)),
        ([("failed", 300), ("failed", 400)], ("failed", 0)),
    ],
)
def test_the_status_follows_from_the_parts(parts, status):
    assert payout_status(parts, 700) == status


@pytest.mark.parametrize("text", ["EUR", "eur=1-2", "EUR=5-4", "EUR=0-4", "EUR=1-2 EUR=3-4", "EUR=1-2,USD=1-2"])
def test_limits_of_gift_credit_must_be_readable(text):
    with pytest.raises(ValueError, match="must list each currency once"):
        GiftAmounts.parse(text)
    assert GiftAmounts.parse("EUR=500-20000 JPY=1-9").limits == {"EUR": (500, 20000), "JPY": (1, 9)}
    assert not GiftAmounts.parse("").allow("EUR", 500)
