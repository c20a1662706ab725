"""Indic names in Latin letters, in which people write the inherent vowels that the scripts do not: `कभी` is `kabhi`.

The index has an Indic name as it is written, `kbhi` (rules/catalog/romanization.py). So a Latin query tries the keys
without the vowels that may be inherent, and a query in Devanagari the ways to write it in Latin letters.
"""

import re
import unicodedata
from functools import lru_cache
from itertools import product

from anyascii import anyascii

from streamsvc.rules.catalog.romanization import romanization_key

MAX_INHERENT = 4
"""How many vowels of a word are tried with and without; the others are left out."""
_LONG = "\N{MACRON}"
"""Follows a vowel that is not inherent, while keys are computed."""
_ALWAYS = tuple(
    (re.compile(pattern), letters)
    for pattern, letters in (
        ("chh", "ch"), ("z", "j"), ("aa", "a" + _LONG), ("ee", "i"), ("oo", "u"), ("ei", "e"), ("ie$", "i"),
    )
)  # fmt: skip
_SOMETIMES = tuple(
    (re.compile(pattern), letters)
    for pattern, letters in (
        ("n(?=[b-df-gj-mp-tvwxz])", "m"), ("n$", "m"), ("ri(?=[b-df-hj-np-tv-z])", "r"), ("qu(?=i)", "k"),
        ("gh", "g"), ("ia", "iya"), ("ay$", "e"), ("ao$", "av"), ("ou", "au"),
        ("o$", "om"), ("^hum(?![aeiou])", "ham"),
        ("eh(?=[b-df-hj-np-tv-z])", "ah"),
    )
)  # fmt: skip
"""Other spellings: a nasal may be a dot above, which the index has as `m`, and `ri` a vowel, which it has as `r`."""
_INHERENT = re.compile(f"(?<=[b-df-hj-np-tv-z])a(?![aeiou{_LONG}])")

_VIRAMA, _NASALS = "\u094d", "\u0901\u0902"
_LETTERS = {
    "ज़": "z", "फ़": "f", "क़": "q", "ड़": "r", "ढ़": "rh", "\u093c": "", "च": "ch", "छ": "chh", "श": "sh", "ष": "sh",
    "ा": "A", "आ": "A", "ी": "I", "ई": "I", "ू": "U", "ऊ": "U", "ृ": "ri", "ऋ": "ri",
}  # fmt: skip
"""What anyascii writes otherwise, letters with a nukta first; the long vowels in capitals."""
_LATIN = {unicodedata.normalize("NFD", letter): latin for letter, latin in _LETTERS.items()}
_LETTER = re.compile("|".join(_LATIN) + "|.")
_DEVANAGARI = re.compile("[\u0900-\u0963\u0970-\u097f]+")
_CHOICES = tuple(
    (re.compile(pattern), usual)
    for pattern, usual in (
        ("^həm", ("həm", "hum")), ("əh(?=[b-df-hj-np-tv-z])", ("ah", "eh")),
        ("ə", ("a",)), ("v", ("v", "w")), ("ph", ("ph", "f")),
        ("I", ("i", "ee")), ("U", ("u", "oo")), ("iy(?=[aA])", ("iy", "i")), ("A", ("a", "aa")),
    )
)  # fmt: skip
"""What is written in several ways, the usual one first."""
MAX_SPELLINGS = 64
_VOWEL = re.compile("[aeiouAIU]")


@lru_cache(maxsize=2_000)
def indic_keys(latin: str) -> list[str]:
    """Return the other keys of the index under which an Indic word may be that is typed in folded Latin letters."""
    spelling = latin
    for pattern, letters in _ALWAYS:
        spelling = pattern.sub(letters, spelling)
    spellings = {spelling}
    for pattern, letters in _SOMETIMES:
        spellings |= {pattern.sub(letters, other) for other in spellings}
    written = {form.replace(_LONG, "") for other in spellings for form in _without_inherent_vowels(other)}
    return sorted({romanization_key(form) for form in written} - {"", romanization_key(latin)})


def _without_inherent_vowels(word: str) -> set[str]:
    """Return a word with and without each vowel that may be inherent."""
    places = [match.start() for match in _INHERENT.finditer(word)]
    forms = set()
    for kept in product((True, False), repeat=min(len(places), MAX_INHERENT)):
        dropped = {place for place, is_kept in zip(places, kept, strict=False) if not is_kept} | {
            *places[MAX_INHERENT:]
        }
        forms.add("".join(letter for place, letter in enumerate(word) if place not in dropped))
    return forms


def devanagari_words(text: str) -> list[str]:
    """Return the words of a text in Devanagari, with their vowel signs."""
    return _DEVANAGARI.findall(text)


def latin_spellings(word: str) -> list[str]:
    """Return up to MAX_SPELLINGS usual ways to write a word of Devanagari in Latin letters; empty for other words."""
    if not _DEVANAGARI.fullmatch(word):
        return []
    spellings = _join_syllables(_syllables(word))
    for pattern, usual in _CHOICES:
        spellings = list(dict.fromkeys(pattern.sub(letters, word) for letters in usual for word in spellings))
    return spellings[:MAX_SPELLINGS]


def _syllables(word: str) -> list[tuple[str, str]]:
    """Return the syllables as (consonants, vowel); an inherent vowel is `ə`."""
    syllables: list[tuple[str, str]] = []
    for letter in _LETTER.findall(unicodedata.normalize("NFD", word)):
        if letter == _VIRAMA and syllables:
            syllables[-1] = syllables[-1][0], ""
            continue
        is_sign = unicodedata.category(letter[0]) in ("Mn", "Mc")
        written = "n" if letter in _NASALS else _LATIN.get(letter, anyascii(letter))
        latin = re.sub("[^A-Za-z]", "", written)  # no quotes: `ऽ` is an apostrophe
        if not latin:
            continue
        if is_sign and syllables:
            onset, vowel = syllables[-1]
            syllables[-1] = (onset, (vowel if letter in _NASALS else "") + latin)
        elif _VOWEL.match(latin):
            syllables.append(("", latin))
        else:
            syllables.append((latin, "ə"))
    return syllables


def _join_syllables(syllables: list[tuple[str, str]]) -> list[str]:
    """Return a word without the inherent vowel at its end, and with and without those between two syllables."""
    vowels = [vowel for _, vowel in syllables]
    if len(vowels) > 1 and vowels[-1] == "ə":
        vowels[-1] = ""
    medial = [place for place in range(1, len(vowels) - 1) if vowels[place] == "ə" and vowels[place - 1]]
    words: dict[str, None] = {}
    for kept in product((False, True), repeat=len(medial[:MAX_INHERENT])):
        dropped = [place for place, is_kept in zip(medial, kept, strict=False) if not is_kept]
        if not any(place + 1 in dropped or not vowels[place + 1] for place in dropped):
            written = ("" if place in dropped else vowel for place, vowel in enumerate(vowels))
            words["".join(onset + vowel for (onset, _), vowel in zip(syllables, written, strict=True))] = None
    return list(words)
