from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsvc.rules.billing.invoicing import (
    CouponTerms,
    Position,
    TaxedAmount,
    TaxTerms,
    compute_totals,
    sum_by_rate,
    tax_to_credit,
)
from streamsvc.rules.money import allocate_amount, format_decimal, round_half_up


def position(amount, percent=0, inclusive=False, **more):
    return Position(f"l{amount}", amount, TaxTerms(percent * 10_000, inclusive), **more)


def coupon(amount=None, percent=None):
    return CouponTerms("c", percent and percent * 10_000, amount)


@pytest.mark.parametrize(
    ("subtotal", "coupons", "expected"),
    [
        (100, [coupon(10), coupon(percent=20)], [10, 18]),
        (100, [coupon(percent=15), coupon(percent=20)], [15, 17]),
        (100, [coupon(10), coupon(20)], [10, 20]),
        (5, [coupon(10), coupon(percent=20)], [5]),
        (300, [coupon(percent=20)], [60]),
        (300, [coupon(12 - 6)], [6]),
        (6, [coupon(12)], [6]),
        (0, [coupon(12)], []),
    ],
)
def test_each_coupon_applies_to_what_the_previous_one_left(subtotal, coupons, expected):
    """LG-025, LG-026."""
    totals = compute_totals([position(subtotal)], coupons)
    assert [amount for _, amount in totals.discounts] == expected
    assert totals.total_minor == subtotal - sum(expected)


def test_tax_is_rounded_once_and_shared_by_largest_remainder():
    """LG-027: 10 % and 20 % on lines of 1.51 and 3.79, the second discounted by 1.00."""
    totals = compute_totals([position(151, 30), position(379, 30, discount_minor=100)])
    assert [position.tax_minor for position in totals.positions] == [45, 84]
    assert (totals.tax_minor, totals.total_minor) == (129, 559)


def test_a_fixed_coupon_is_shared_over_lines_with_different_rates():
    """LG-028."""
    lines = [position(10000, 10), position(5000, 0), position(3000, 20), position(2000, 20)]
    totals = compute_totals(lines, [coupon(1000)])
    assert [position.discount_minor for position in totals.positions] == [500, 250, 150, 100]
    assert [position.tax_minor for position in totals.positions] == [950, 0, 570, 380]
    assert (totals.subtotal_minor - totals.discount_minor, totals.total_minor) == (19000, 20900)


def test_included_tax_does_not_change_the_total():
    totals = compute_totals([position(1199, 20, inclusive=True)])
    assert (totals.total_minor, totals.tax_minor) == (1199, 200)


def test_the_tax_of_a_credit_comes_from_the_line_it_credits():
    """LG-002 (193.5 rounds up) and LG-018."""
    assert tax_to_credit(250, 1000, 774) == 194
    assert tax_to_credit(290, 1161, 1161) == 290
    assert tax_to_credit(15380, 76900, 72686) == 14537


def test_account_credit_covers_the_total_and_never_more():
    assert compute_totals([position(1549)], balance_minor=47581).amount_due_minor == 0
    assert compute_totals([position(1549)], balance_minor=47581).credit_applied_minor == 1549
    assert compute_totals([position(24995)], balance_minor=8063).amount_due_minor == 16932
    assert compute_totals([position(-500)], balance_minor=100).credit_applied_minor == 0


@pytest.mark.parametrize(
    ("price", "days", "of", "amount"), [(10000, 15, 31, 4839), (10000, 10, 31, 3226), (1000, 10, 31, 323)]
)
def test_the_amount_is_rounded_but_never_the_fraction(price, days, of, amount):
    """OM-005 and UB-001."""
    assert round_half_up(price * days, of) == amount
    assert round_half_up(100000, 3) == 33333


amounts = st.lists(st.integers(1, 10**9), min_size=1, max_size=8)


@given(amounts, st.integers(0, 300_000), st.booleans(), st.integers(0, 10**9))
def test_lines_always_add_up_to_totals(parts, rate, inclusive, amount_off):
    lines = [Position(str(i), amount, TaxTerms(rate, inclusive)) for i, amount in enumerate(parts)]
    totals = compute_totals(lines, [CouponTerms("c", remaining_minor=amount_off)])
    assert sum(position.discount_minor for position in totals.positions) == totals.discount_minor
    assert all(0 <= position.discount_minor <= position.amount_minor for position in totals.positions)
    on_top = 0 if inclusive else totals.tax_minor
    assert totals.total_minor == totals.subtotal_minor - totals.discount_minor + on_top
    assert totals.tax_minor == TaxTerms(rate, inclusive).tax_on(totals.subtotal_minor - totals.discount_minor)


RATES = (TaxTerms(190_000), TaxTerms(190_000, True), TaxTerms(70_000, category="reduced"), TaxTerms())
mixed_lines = st.lists(st.tuples(st.integers(0, 10**9), st.sampled_from(RATES), st.booleans()), min_size=1, max_size=8)


@given(mixed_lines, st.integers(0, 10**9), st.integers(0, 1_000_000))
def test_the_sums_of_the_rates_add_up_to_the_invoice(lines, amount_off, percent_ppm):
    """For every mix of rates, prices with and without tax, reverse charge, and discounts."""
    reversed_ = any(is_reversed for *_, is_reversed in lines)
    positions = [Position(str(i), amount, replace(tax, reversed=reversed_)) for i, (amount, tax, _) in enumerate(lines)]
    coupons = [CouponTerms("a", remaining_minor=amount_off), CouponTerms("b", percent_ppm=percent_ppm)]
    totals = compute_totals(positions, coupons)
    groups = sum_by_rate(
        TaxedAmount(
            position.tax.category,
            None,
            position.tax.rate_ppm,
            position.net_minor - (position.tax_minor if position.tax.inclusive else 0),
            position.tax_minor,
        )
        for position in totals.positions
    )
    assert sum(group.tax_minor for group in groups) == totals.tax_minor
    assert sum(group.net_minor + group.tax_minor for group in groups) == totals.total_minor
    assert sum(position.discount_minor for position in totals.positions) == totals.discount_minor
    for group in groups:
        parts = len({position.tax for position in totals.positions if position.tax.rate_ppm == group.rate_ppm})
        exact = 0 if reversed_ else group.net_minor * group.rate_ppm
        assert abs(group.tax_minor * 1_000_000 - exact) <= parts * 620_000  # half a cent each, of net or of gross


@given(st.integers(-(10**12), 10**12), amounts)
def test_parts_of_a_share_add_up_and_differ_by_less_than_one(whole, weights):
    parts = allocate_amount(whole, weights)
    assert sum(parts) == whole
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part * sum(weights) - whole * weight) < sum(weights)


@given(st.integers(0, 10**6), st.lists(st.integers(1, 10**6), min_size=1, max_size=6))
def test_credits_of_a_whole_line_return_exactly_its_tax(tax, parts):
    net, credited, returned = sum(parts), 0, 0
    for part in parts:
        credited += part
        returned += tax_to_credit(tax, net, credited, returned)
    assert returned == tax


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [(1999, "USD", "19.99"), (1999, "JPY", "1999"), (-5, "KWD", "-0.005"), (0, "EUR", "0.00")],
)
def test_money_is_written_with_the_digits_its_currency_has(amount, currency, text):
    assert format_decimal(amount, currency) == text
