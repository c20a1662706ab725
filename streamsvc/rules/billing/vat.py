"""VAT numbers: their formats and check digits, and when reverse charge applies.

The formats and check digits of all countries are those of python-stdnum. A number is stored with the letters of its
country in front, as an invoice shows it; Greece uses the prefix EL, while its ISO 3166 code is GR.
"""

import re

import stdnum
from stdnum.eu import vat as eu_vat
from stdnum.exceptions import ValidationError

MEMBER_STATES = frozenset(code.upper() for code in eu_vat.MEMBER_STATES) - {"XI"}
"""The countries whose numbers VIES knows. Northern Ireland (XI) is in it for goods only."""
VAT_PREFIXES = {"GR": "EL"}


def normalize_vat_number(number: str) -> str:
    """Normalize a VAT number for storage: upper case, without spaces, dots, hyphens and slashes."""
    return re.sub(r"[\s.\-/]", "", number, flags=re.ASCII).upper()


def vat_number_country(number: str) -> str | None:
    """Return the ISO 3166 code of the country of a normalized VAT number; None if it is not valid.

    Format and check digits must be right; `DE000000000` is not a number.
    """
    prefix = number[:2]
    country = next((iso for iso, letters in VAT_PREFIXES.items() if letters == prefix), prefix)
    if VAT_PREFIXES.get(country, country) != prefix or not number.isascii():
        return None
    return country if parse_vat_number(number, country) == number else None


def parse_vat_number(text: str, country: str) -> str | None:
    """Return the normalized VAT number of the country, with its prefix; None if it is not valid.

    A number of a country outside the EU may be given without its prefix. Countries whose VAT numbers are not known have
    none.
    """
    number = normalize_vat_number(text)
    prefix = VAT_PREFIXES.get(country, country)
    if country in MEMBER_STATES:
        return number if number.startswith(prefix) and _is_member_state_number(country, number[2:]) else None
    module = stdnum.get_cc_module(country.lower(), "vat") if re.fullmatch("[A-Z]{2}", country) else None
    if module is None:
        return None
    try:
        compact = str(module.validate(number.removeprefix(prefix) if country != "CH" else number)).upper()
    except ValidationError:
        return None
    return compact if compact.startswith(prefix) else prefix + compact


def _is_member_state_number(country: str, rest: str) -> bool:
    """Return whether the digits after the prefix are right. stdnum would remove a second prefix."""
    return re.fullmatch("[0-9A-Z+*]+", rest) is not None and rest[:2] != country and eu_vat.is_valid(country + rest)


def is_reverse_charged(seller: str | None, customer: str, number: str | None) -> bool:
    """Return whether the customer accounts for the tax: a business of another member state (article 196).

    `seller` and `number` are confirmed VAT numbers, `customer` is the country of the account.
    """
    seller_country, customer_country = seller and vat_number_country(seller), number and vat_number_country(number)
    return bool(
        seller_country in MEMBER_STATES
        and customer_country in MEMBER_STATES
        and customer_country == customer != seller_country
    )
