"""Amounts, dates and percentages as a language writes them."""

import re
from datetime import date
from decimal import Decimal

from babel import Locale, UnknownLocaleError
from babel.dates import format_date
from babel.numbers import format_currency, format_decimal

from streamsvc.rules.billing.invoice_labels import find_language
from streamsvc.rules.money import minor_digits

PPM_DIGITS = 4
"""Decimals of a percentage that is stored in parts per million."""


def find_locale(tag: str | None) -> Locale:
    """Return the locale of the formats: that of the tag if its language has labels, else English."""
    language = find_language(tag)
    if tag and tag.replace("_", "-").lower().startswith(language):
        try:
            return Locale.parse(tag.replace("_", "-"), sep="-")
        except (UnknownLocaleError, ValueError):
            pass
    return Locale.parse(language)


def format_money(amount_minor: int, currency: str, locale: Locale) -> str:
    """Format an amount with its currency, with as many decimals as the currency has."""
    digits = minor_digits(currency)
    places = "0." + "0" * digits if digits else "0"
    pattern = re.sub(r"0(\.0+)?(?=[^0.]|$)", places, locale.currency_formats["standard"].pattern, count=1)
    amount = Decimal(amount_minor).scaleb(-digits)
    text = format_currency(amount, currency, format=pattern, locale=locale, currency_digits=False)
    return re.sub(rf"(?<={currency})(?=\d)", "\N{NO-BREAK SPACE}", text)


def format_day(day: date, locale: Locale) -> str:
    """Format a date."""
    return format_date(day, format="medium", locale=locale)


def format_percent(ppm: int, locale: Locale) -> str:
    """Format a rate given in parts per million: 190_000 is 19 %."""
    return format_decimal(Decimal(ppm).scaleb(-PPM_DIGITS).normalize(), locale=locale) + "\N{NO-BREAK SPACE}%"
