"""Spelling rules of scripts other than Latin: the letters that people write for each other.

`normalize_spelling` takes text that `fold_text` returned. Titles and queries pass through the same function.

Arabic    the forms of alef, yeh, hamza and teh marbuta; Persian and Urdu letters; no tatweel
Hebrew    final letters
Japanese  hiragana for katakana; half and full width are folded before
Chinese   the simplified character for the traditional one, and for the new Japanese one
Korean    the letters of each syllable, so that a syllable that is still being typed matches
Latin     three equal consonants are two: `schifffahrt` and `schiffahrt`
"""

import re
import unicodedata
from functools import lru_cache

from streamsvc.rules.catalog import chinese_variants

_CHINESE = "".join(chinese_variants.PAIRS.split())
_ARABIC = {
    **dict.fromkeys("أإآٱ", "ا"), **dict.fromkeys("ىئیےېۍ", "ي"), **dict.fromkeys("ةۀۂہھە", "ه"), "ؤ": "و", "ء": None,
    **dict.fromkeys("کگڪ", "ك"), "پ": "ب", "چ": "ج", "ژ": "ز", "ڤ": "ف", "ـ": None,
}  # fmt: skip
_HEBREW = dict(zip("ךםןףץ", "כמנפצ", strict=True))
_KATAKANA = {chr(code): chr(code - 0x60) for code in range(0x30A1, 0x30F7)}
_DIGITS = {
    chr(zero + digit): str(digit) for zero in (0x660, 0x6F0, 0x966, 0x9E6, 0xE50) for digit in range(10)
}  # Arabic, Persian, Devanagari, Bengali, Thai
_LETTERS = str.maketrans(
    {**_ARABIC, **_HEBREW, **_KATAKANA, **_DIGITS, **dict(zip(_CHINESE[::2], _CHINESE[1::2], strict=True))}
)
_TRIPLED = re.compile(r"(?<=\w)([b-df-hj-np-tv-z])\1\1(?=\w)")
_HANGUL = re.compile("[\uac00-\ud7a3]")
_ARABIC_ARTICLE, _HEBREW_ARTICLE = "ال", "ה"
_HEBREW_VOWELS = re.compile("(?<=.)[וי](?=.)")
_INITIALS = re.compile("[\u1100-\u1112]+")


@lru_cache(maxsize=50_000)
def normalize_spelling(folded: str) -> str:
    """Return folded text with one spelling for each set of letters that are written for each other."""
    text = _TRIPLED.sub(r"\1\1", folded)
    if text.isascii():
        return text
    return _split_syllables(text.translate(_LETTERS))


def _split_syllables(text: str) -> str:
    return unicodedata.normalize("NFD", text) if _HANGUL.search(text) else text


def spellings_without_article(word: str) -> list[str]:
    """Return a word without an Arabic or Hebrew article, which is written as a part of it; empty without one."""
    for article in (_ARABIC_ARTICLE, _HEBREW_ARTICLE):
        if word.startswith(article) and len(word) >= len(article) + 3:
            return [word[len(article) :]]
    return []


def consonant_skeleton(word: str) -> str | None:
    """Return a Hebrew word without the vowel letters inside it, which may be left out; None for other words."""
    return _HEBREW_VOWELS.sub("", word) if len(word) > 3 and "\u05d0" <= word[0] <= "\u05ea" else None


def hangul_initials(word: str) -> str:
    """Return the first consonant of each syllable of a Korean word, `ㄱㅅㅊ` for `기생충`; empty for other words."""
    composed = unicodedata.normalize("NFC", word)
    if not _HANGUL.search(composed):
        return ""
    return "".join(chr(0x1100 + (ord(letter) - 0xAC00) // 588) for letter in _HANGUL.findall(composed))


def is_hangul_initials(word: str) -> bool:
    """Whether a word of a query has nothing but Korean consonants."""
    return _INITIALS.fullmatch(word) is not None


def is_ideograph(word: str) -> bool:
    """Whether a word is a Chinese character: text folded for search has each as a word."""
    return "\u4e00" <= word[0] <= "\u9fff"
