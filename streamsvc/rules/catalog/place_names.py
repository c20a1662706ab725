"""Codes of countries and languages from their names, as CLDR has them in nine languages."""

from functools import cache

from babel import Locale
from babel.core import get_global

from streamsvc.rules.catalog.codes import COUNTRIES, normalize_language_tag
from streamsvc.rules.catalog.text import fold_text

NAME_LOCALES = ("sv", "pl", "nl", "pt", "it", "es", "fr", "de", "en")
OTHER_COUNTRY_NAMES = {
    "usa": "US", "u s a": "US", "united states of america": "US", "america": "US", "uk": "GB", "u k": "GB",
    "great britain": "GB", "england": "GB", "scotland": "GB", "wales": "GB", "korea": "KR", "republic of korea": "KR",
    "russian federation": "RU", "czech republic": "CZ", "holland": "NL", "the netherlands": "NL", "burma": "MM",
    "viet nam": "VN", "turkey": "TR", "uae": "AE", "west germany": "DE", "east germany": "DE", "soviet union": "RU",
}  # fmt: skip
OTHER_LANGUAGE_NAMES = {"mandarin": "zh", "cantonese": "yue", "farsi": "fa", "castilian": "es", "flemish": "nl-BE"}


@cache
def _country_codes() -> dict[str, str]:
    names = {
        fold_text(name): code for locale in NAME_LOCALES for code, name in Locale(locale).territories.items()
    } | OTHER_COUNTRY_NAMES
    return {name: code for name, code in names.items() if code in COUNTRIES}


@cache
def _language_tags() -> dict[str, str]:
    return {
        fold_text(name): tag.replace("_", "-")
        for locale in NAME_LOCALES
        for tag, name in Locale(locale).languages.items()
    } | OTHER_LANGUAGE_NAMES


def find_country(name: str) -> str | None:
    """Return the code of `US`, `usa`, `United States` or `Vereinigte Staaten`; None if it is no country's name.

    Two letters are taken for a code as they are.
    """
    plain = name.strip()
    if len(plain) == 2 and plain.isascii() and plain.isalpha() and plain.upper() != "UK":
        return plain.upper()
    aliases = get_global("territory_aliases").get(plain.upper()) if len(plain) == 3 else None
    if aliases and aliases[0] in COUNTRIES:
        return str(aliases[0])
    return _country_codes().get(fold_text(plain))


def find_language(name: str) -> str | None:
    """Return the tag of `en`, `eng`, `English`, `Englisch` or `pt-BR`; None if it is no language's name."""
    plain = name.strip().replace("_", "-")
    if len(plain) == 3 and (alias := get_global("language_aliases").get(plain.lower())):
        return str(alias)
    if tag := _language_tags().get(fold_text(plain)):
        return normalize_language_tag(tag)
    try:
        return normalize_language_tag(plain) if len(plain) < 4 or "-" in plain else None
    except ValueError:
        return None
