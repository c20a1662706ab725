"""VAT numbers of the European Union: their forms, and when the tax is for the customer to pay.

The forms are those that the member states give for their numbers; Greece writes EL where ISO 3166 has GR.
"""

import re

NUMBER_FORMATS = {
    country: re.compile(form)
    for country, form in {
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
    """As it is kept: capital letters, without spaces, dots and hyphens."""
    return re.sub(r"[\s.\-]", "", number, flags=re.ASCII).upper()


def vat_number_country(number: str) -> str | None:
    """The ISO 3166 code of the country whose number this is, by its letters and form; None where it is none."""
    prefix, rest = number[:2], number[2:]
    country = next((iso for iso, letters in VAT_PREFIXES.items() if letters == prefix), prefix)
    written = VAT_PREFIXES.get(country, country) == prefix
    form = NUMBER_FORMATS.get(country) if written else None
    return country if form and form.fullmatch(rest) else None


def is_reverse_charged(seller: str | None, customer: str, number: str | None) -> bool:
    """Whether the customer pays the tax: a business of another member state than the seller's (article 196).

    `seller` and `number` are VAT numbers that somebody vouches for, `customer` is the country of the account.
    """
    home, theirs = seller and vat_number_country(seller), number and vat_number_country(number)
    return bool(home and theirs and theirs == customer and theirs != home)
