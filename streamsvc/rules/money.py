"""Money is an integer number of minor units and a currency; floats are never used."""

from collections.abc import Sequence

ZERO_DECIMAL = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
THREE_DECIMAL = "BHD IQD JOD KWD LYD OMR TND"
FOUR_DECIMAL = "CLF UYW"
MINOR_DIGITS = {
    code: digits
    for digits, codes in ((0, ZERO_DECIMAL), (3, THREE_DECIMAL), (4, FOUR_DECIMAL))
    for code in codes.split()
}


def minor_digits(currency: str) -> int:
    """Return the number of decimal digits of an ISO 4217 currency: 2, with few exceptions."""
    return MINOR_DIGITS.get(currency, 2)


def format_decimal(amount_minor: int, currency: str) -> str:
    """Format an amount: 1999 USD -> '19.99', 1999 JPY -> '1999', -5 KWD -> '-0.005'."""
    digits = minor_digits(currency)
    sign, figures = "-" if amount_minor < 0 else "", str(abs(amount_minor)).rjust(digits + 1, "0")
    return f"{sign}{figures[:-digits]}.{figures[-digits:]}" if digits else sign + figures


def round_half_up(numerator: int, denominator: int) -> int:
    """numerator / denominator, rounded to an integer with halves away from zero; integer arithmetic throughout."""
    if denominator <= 0:
        raise ValueError(f"denominator {denominator} is not positive")
    quotient = (2 * abs(numerator) + denominator) // (2 * denominator)
    return quotient if numerator >= 0 else -quotient


def round_down(amount: int, step: int) -> int:
    """Return the largest multiple of `step` that does not exceed the amount."""
    return amount - amount % step


def round_up(amount: int, step: int) -> int:
    """Return the smallest multiple of `step` that is not less than the amount."""
    return amount + -amount % step


def allocate_amount(total: int, weights: Sequence[int]) -> list[int]:
    """Split `total` into integers proportional to `weights`, by largest remainder; the parts add up to it.

    Equal remainders go to the earlier part, so that the same invoice is always split the same way.
    """
    total_weight = sum(weights)
    if total_weight == 0:
        if total:
            raise ValueError(f"cannot allocate {total} to weights of 0")
        return [0] * len(weights)
    if total < 0:
        return [-part for part in allocate_amount(-total, weights)]
    parts = [total * weight // total_weight for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda i: -(total * weights[i] % total_weight))
    for i in by_remainder[: total - sum(parts)]:
        parts[i] += 1
    return parts
