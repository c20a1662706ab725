"""Candidates for the correction of a misspelled word: words one edit away, and words that sound alike.

Instead of comparing a query with every word of the catalogue, every possible edit is generated (a few hundred for a
word of ten letters) and looked up in an index, and so is the word's sound; the cost does not grow with the catalogue.
"""

import re
from difflib import SequenceMatcher
from string import ascii_lowercase, digits

MIN_WORD_LENGTH = 3  # letters; nearly every shorter word is one edit away from another
MAX_WORD_LENGTH = 24

_ALPHABETS = (
    ascii_lowercase + digits,
    "абвгдежзийклмнопрстуфхцчшщъыьэюяёєіїґ",
    "αβγδεζηθικλμνξοπρσςτυφχψω",
    "ابتثجحخدذرزسشصضطظعغفقكلمنهوي",
    "אבגדהוזחטיכלמנסעפצקרשת",
    "".join(map(chr, (*range(0x1100, 0x1113), *range(0x1161, 0x1176), *range(0x11A8, 0x11C3)))),
)
"""The letters of each alphabet as `normalize_spelling` leaves them: a Korean syllable is two or three letters."""


def words_one_edit_away(word: str) -> set[str]:
    """Return every string at a Damerau–Levenshtein distance of one; empty if the word is too short or too long.

    Also empty for numbers and words of mostly digits: each is one edit away from others and is meant as typed.
    """
    if not MIN_WORD_LENGTH <= len(word) <= MAX_WORD_LENGTH or 2 * sum(map(str.isdigit, word)) >= len(word):
        return set()
    letters = next((alphabet for alphabet in _ALPHABETS if set(word) & set(alphabet)), "")
    cuts = [(word[:index], word[index:]) for index in range(len(word) + 1)]
    dropped = {head + tail[1:] for head, tail in cuts if tail}
    swapped = {head + tail[1] + tail[0] + tail[2:] for head, tail in cuts if len(tail) > 1}
    wrong = {head + letter + tail[1:] for head, tail in cuts if tail for letter in letters}
    extra = {head + letter + tail for head, tail in cuts for letter in letters}
    return (dropped | swapped | wrong | extra) - {word}


_SOUNDS = (
    ("ph", "f"), ("sch", "s"), ("tch", "j"), ("ch", "j"), ("ce", "se"), ("ci", "si"), ("cy", "sy"), ("c", "k"),
    ("q", "k"), ("x", "ks"), ("z", "s"), ("h", ""), ("y", ""),
)  # fmt: skip
_WITHOUT_VOWELS = str.maketrans("", "", "aeiou")
MIN_SOUND_LENGTH = 3  # consonants; too many words share fewer
MIN_SIMILARITY = 0.65  # ratio of matching letters required of two words with the same sound


def sound_key(word: str) -> str:
    """Return a rough phonetic key, a word's consonants: equal for `ghandi` and `gandhi`, `jurrasic` and `jurassic`.

    Empty for words outside the Latin alphabet, and for words with too few consonants.
    """
    if not word.isascii() or not word.isalpha():
        return ""
    word = word[0] + word[1:].replace("gh", "")
    for letters, sound in _SOUNDS:
        word = word.replace(letters, sound)
    word = without_doubled_letters(word[:1] + word[1:].translate(_WITHOUT_VOWELS))
    return word if len(word) >= MIN_SOUND_LENGTH else ""


_DOUBLED = re.compile(r"(.)\1+")


def without_doubled_letters(word: str) -> str:
    """Return the word without doubled letters, the same for `mama` and `mamma`."""
    return _DOUBLED.sub(r"\1", word)


def is_similar(word: str, other: str) -> bool:
    """Whether two words of one sound are spelled similarly enough for one to be a misspelling of the other."""
    return SequenceMatcher(None, word, other).ratio() >= MIN_SIMILARITY
