"""Amounts as Stripe writes and limits them.

Source: https://docs.stripe.com/currencies ("Minor units in API amounts", "Minimum and maximum charge amounts") and the
description of `amount` in Stripe's OpenAPI description of API version 2026-10-28.endive.
"""

ZERO_DECIMAL_SENT_WITH_TWO = ("ISK", "UGX")
"""Currencies without minor units that Stripe writes with two digits."""
TWO_DECIMAL_SENT_WITH_NONE = ("MGA",)
"""Currencies with two digits that Stripe writes without."""
LAST_DIGIT_ZERO = ("BHD", "JOD", "KWD", "OMR", "TND")
"""Currencies with three digits, of which Stripe takes amounts only if they end in 0."""
MINIMUM_MINOR = {
    "AED": 200,
    "AUD": 50,
    "BGN": 100,
    "BRL": 50,
    "CAD": 50,
    "CHF": 50,
    "CZK": 1500,
    "DKK": 250,
    "EUR": 50,
    "GBP": 30,
    "HKD": 400,
    "HUF": 17500,
    "INR": 50,
    "JPY": 50,
    "MXN": 1000,
    "MYR": 200,
    "NOK": 300,
    "NZD": 50,
    "PLN": 200,
    "RON": 200,
    "SEK": 300,
    "SGD": 50,
    "THB": 1000,
    "USD": 50,
}
"""The smallest charge in each settlement currency. Stripe converts other currencies and refuses what is too small."""
MAXIMUM = 99_999_999
MAXIMUM_BY_CURRENCY = {"IDR": 999_999_999_999}


def to_stripe_amount(amount_minor: int, currency: str) -> int | None:
    """Convert an amount to Stripe's units; None if Stripe cannot represent it."""
    if currency in TWO_DECIMAL_SENT_WITH_NONE:
        return None if amount_minor % 100 else amount_minor // 100
    return amount_minor * 100 if currency in ZERO_DECIMAL_SENT_WITH_TWO else amount_minor


def from_stripe_amount(amount: int, currency: str) -> int:
    """Convert an amount from Stripe's units."""
    if currency in TWO_DECIMAL_SENT_WITH_NONE:
        return amount * 100
    return amount // 100 if currency in ZERO_DECIMAL_SENT_WITH_TWO else amount


def charge_step_minor(currency: str) -> int:
    """Return the amount of which every charge is a multiple."""
    if currency in LAST_DIGIT_ZERO:
        return 10
    return 100 if currency in TWO_DECIMAL_SENT_WITH_NONE else 1


def minimum_charge_minor(currency: str) -> int:
    """Return the smallest amount that can be charged; 1 if Stripe publishes none for the currency."""
    return MINIMUM_MINOR.get(currency, 1)


def maximum_charge_minor(currency: str) -> int:
    """Return the largest amount that can be charged."""
    largest = from_stripe_amount(MAXIMUM_BY_CURRENCY.get(currency, MAXIMUM), currency)
    return largest - largest % charge_step_minor(currency)
