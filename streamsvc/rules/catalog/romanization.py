"""Names of other scripts as people type them in Latin letters, and Latin names typed in other scripts.

There are several ways to write a name in Latin letters, `Ночной` as `Nochnoy`, `Nochnoi` or `Nočnoj`. They share one
key, which is what the index has.
"""

import re
import unicodedata
from functools import lru_cache

from anyascii import anyascii

_KANA = re.compile("[\u3041-\u30ff]")
_RUNS = re.compile(
    "[\u0370-\u03ff\u1f00-\u1fff]+|[\u0400-\u052f]+|[\u0530-\u058f]+|[\u0900-\u0dff]+|[\u0e00-\u0eff]+|[\u10a0-\u10ff]+"
    "|[\u3041-\u309f]+|[\u30a1-\u30ff]+|[\u4e00-\u9fff]+|[\uac00-\ud7a3]+"
)
_ALPHABETIC = re.compile("[\u0370-\u058f\u0900-\u0dff\u10a0-\u10ff\u1f00-\u1fff]+")
"""Scripts whose words are those of the romanized name."""
MIN_KEY_LENGTH = 3  # letters; a shorter key must be whole
_KEY = tuple(
    (re.compile(pattern), letters)
    for pattern, letters in (
        ("shch|sch|sh", "s"), ("zh", "z"), ("kh", "h"), ("ch|t[sz]", "c"), ("ph", "f"), ("th", "t"), ("mp", "b"),
        ("[yij]o", "e"), ("[yij](?=[aeu])", ""), ("[yj]", "i"), ("x", "ks"), ("w", "v"), ("ck|q", "k"),
        (r"(.)\1+", r"\1"),
    )
)  # fmt: skip
_SLAVIC_ENDING = re.compile("(?<=..sk)(?:iy|ij|ii|yi|y|i)$")


@lru_cache(maxsize=10_000)
def romanization_key(latin: str) -> str:
    """Return what the ways to write a name in Latin letters have in common; the word is in folded Latin letters."""
    for pattern, letters in _KEY:
        latin = pattern.sub(letters, latin)
    return latin


def romanization_keys(name: str) -> set[str]:
    """Return the keys of a name's words in other scripts; empty for a Latin name.

    Chinese characters are read as Chinese, and not at all in a Japanese name.
    """
    if name.isascii():
        return set()
    text = unicodedata.normalize("NFKC", name)
    runs = [run for run in _RUNS.findall(text) if not ("\u4e00" <= run[0] <= "\u9fff" and _KANA.search(text))]
    keys = {romanization_key(_romanize(run)) for run in runs}
    for run in runs:
        if "\u4e00" <= run[0] <= "\u9fff":
            keys |= {romanization_key(_romanize(character)) for character in run}
    return keys - {""}


def romanized_spellings(word: str) -> list[str]:
    """Return a word of a query in Latin letters, with the usual endings; empty if it is not alphabetic.

    `тарковский` is `tarkovskiy`, `tarkovski` and `tarkovsky`.
    """
    if word.isascii() or not _ALPHABETIC.fullmatch(word):
        return []
    latin = _romanize(word)
    return [latin, *slavic_name_spellings(latin)]


def slavic_name_spellings(latin: str) -> list[str]:
    """Return the ways to write the end of a name such as Tarkovsky; empty for other words."""
    stem, found = _SLAVIC_ENDING.subn("", latin)
    return [stem + ending for ending in ("i", "iy", "y")] if found else []


def _romanize(text: str) -> str:
    return re.sub("[^a-z0-9]+", "", anyascii(text).lower())
