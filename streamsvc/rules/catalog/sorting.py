"""The key by which titles are sorted: folded, without a leading article, and with numbers in their natural order.

`sort_key("The Birds", "en")` is `birds`, and "Alien 2" comes before "Alien 10". Keys are compared by code point, so
both databases sort alike.
"""

import re
import unicodedata

from streamsvc.rules.catalog.text import fold_text

ARTICLES = {
    "ca": "el la els les un una l'",
    "da": "en et den det de",
    "de": "der die das den dem ein eine",
    "en": "the a an",
    "es": "el la los las lo un una",
    "fr": "le la les un une l'",
    "gl": "o a os as un unha",
    "hu": "a az egy",
    "it": "il lo la i gli le un uno una l' un'",
    "nb": "en et ei den det de",
    "nl": "de het een",
    "nn": "ein eit ei den det dei",
    "no": "en et ei den det de",
    "pt": "o a os as um uma",
    "sv": "en ett den det de",
}
"""Leading articles by language, in their own spelling: the French preposition `à` is not the English article `a`.

Those with an apostrophe need no space after them. Sources: the lists of initial articles in MARC 21, appendix F, at
https://www.loc.gov/marc/bibliographic/bdapndxf.html.
"""
ALWAYS_ARTICLES = "the"
"""Stripped in every language: many titles are English, whatever is spoken in them."""
DEFAULT_LANGUAGE = "en"
_APOSTROPHES = str.maketrans({"’": "'", "‘": "'", "ʼ": "'", "`": "'", "´": "'"})
_NUMBER = re.compile(r"\d+")
MAX_COUNTED_DIGITS = 8
MAX_KEY_LENGTH = 500
"""So that a key fits into an index of PostgreSQL and into a cursor: a letter may fold to 18."""


def _article_pattern(articles: str) -> re.Pattern[str]:
    elided = [re.escape(word) for word in articles.split() if word.endswith("'")]
    whole = [word for word in articles.split() if not word.endswith("'")]
    any_article = "|".join([*elided, f"(?:{'|'.join(whole)})[\\s_]+"])
    return re.compile(rf"[\W_]*(?:{any_article})(?=.*\w)", re.DOTALL)


_PATTERNS = {language: _article_pattern(f"{ALWAYS_ARTICLES} {words}") for language, words in ARTICLES.items()}
_DEFAULT_PATTERN = _article_pattern(ALWAYS_ARTICLES)


def sort_key(title: str, language: str | None = None) -> str:
    """Return the key of a title in a language (a BCP 47 tag); in an unknown one only `the` is an article.

    A title that is nothing but an article keeps it.
    """
    return explicit_sort_key(without_leading_article(title, language))


def explicit_sort_key(sort_title: str) -> str:
    """Return the key of a sort title that an operator wrote, from which no article is stripped."""
    return _pad_numbers(fold_text(sort_title))[:MAX_KEY_LENGTH]


def without_leading_article(title: str, language: str | None) -> str:
    """Return `Birds` for `The Birds`; unchanged without an article, or if nothing follows it."""
    pattern = _PATTERNS.get((language or "").split("-")[0].lower(), _DEFAULT_PATTERN)
    plain = unicodedata.normalize("NFC", title)
    lowered = plain.lower().translate(_APOSTROPHES)
    article = pattern.match(lowered)
    if article is None or len(lowered) != len(plain):  # one of the few letters that are two in lower case
        return title
    return plain[article.end() :]


def _pad_numbers(folded: str) -> str:
    """Prefix each number with how many digits it has, so that text sorts as numbers do: `alien 12` before `alien 210`.

    Of nine digits and more, the count has four digits of its own.
    """
    return _NUMBER.sub(lambda match: _counted_number(match[0]), folded)


def _counted_number(digits: str) -> str:
    digits = "".join(str(unicodedata.digit(digit, 0)) for digit in digits).lstrip("0") or "0"
    count = len(digits)
    return f"{count}{digits}" if count <= MAX_COUNTED_DIGITS else f"9{count:04d}{digits}"
