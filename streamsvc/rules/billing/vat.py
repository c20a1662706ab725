"""VAT numbers of the European Union: their formats, and when reverse charge applies.

The formats are those that the member states publish; Greece uses the prefix EL, while its ISO 3166 code is GR.
"""

import re

NUMBER_FORMATS = {
    country: re.compile(pattern)
    for country, pattern in {
        "AT": r"U\d{8}",
        "BE": r"[01]\d{9}",
        "BG": r"\d{9,10}",
        "CY": r"\d{8}[A-Z]",
        "CZ": r"\d{8,10}",
        "DE": r"\d{9}",
        "DK": r"\d{8}",
        "EE": r"\d{9}",
        "ES": r"[A-Z]\d{7}[A-Z]|[A-Z]\d{8}|\d{8}[A-Z]",
        "FI": r"\d{8}",
        "FR": r"[0-9A-HJ-NP-Z]{2}\d{9}",
        "GR": r"\d{9}",
        "HR": r"\d{11}",
        "HU": r"\d{8}",
        "IE": r"\d{7}[A-Z]{1,2}|\d[A-Z+*]\d{5}[A-Z]",
        "IT": r"\d{11}",
        "LT": r"\d{9}|\d{12}",
        "LU": r"\d{8}",
        "LV": r"\d{11}",
        "MT": r"\d{8}",
        "NL": r"[0-9A-Z+*]{10}\d{2}",
        "PL": r"\d{10}",
        "PT": r"\d{9}",
        "RO": r"\d{2,10}",
        "SE": r"\d{10}01",
        "SI": r"\d{8}",
        "SK": r"\d{10}",
    }.items()
}
VAT_PREFIXES = {"GR": "EL"}


def normalize_vat_number(number: str) -> str:
    """Normalize a VAT number for storage: upper case, without spaces, dots and hyphens."""
    return re.sub(r"[\s.\-]", "", number, flags=re.ASCII).upper()


def vat_number_country(number: str) -> str | None:
    """Return the ISO 3166 code of the country of a VAT number, by prefix and format; None if it is not valid."""
    prefix, rest = number[:2], number[2:]
    country = next((iso for iso, letters in VAT_PREFIXES.items() if letters == prefix), prefix)
    is_own_prefix = VAT_PREFIXES.get(country, country) == prefix
    pattern = NUMBER_FORMATS.get(country) if is_own_prefix else None
    return country if pattern and pattern.fullmatch(rest) else None


def is_reverse_charged(seller: str | None, customer: str, number: str | None) -> bool:
    """Return whether the customer accounts for the tax: a business of another member state (article 196).

    `seller` and `number` are confirmed VAT numbers, `customer` is the country of the account.
    """
    seller_country, customer_country = seller and vat_number_country(seller), number and vat_number_country(number)
    return bool(seller_country and customer_country and customer_country == customer != seller_country)
