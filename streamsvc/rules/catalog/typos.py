"""What a misspelt word may have meant: the words one slip away, and those that sound alike.

Instead of comparing a query with every word of the catalogue, each possible slip is written out (a few hundred for a
word of ten letters) and looked up in an index, and so is the word's sound; the work does not grow with the catalogue.
"""

import re
from difflib import SequenceMatcher
from string import ascii_lowercase, digits

MIN_WORD_LENGTH = 3  # letters; below this nearly every word is one slip away from another
MAX_WORD_LENGTH = 24

_ALPHABETS = (
    ascii_lowercase + digits,
    "абвгдежзийклмнопрстуфхцчшщъыьэюяёєіїґ",
    "αβγδεζηθικλμνξοπρσςτυφχψω",
)


def words_one_edit_away(word: str) -> set[str]:
    """Every string at a Damerau distance of one from `word`; none where it is too short or too long to guess.

    Nor for a number, or what is mostly one: each is one slip away from others and means itself.
    """
    if not MIN_WORD_LENGTH <= len(word) <= MAX_WORD_LENGTH or 2 * sum(map(str.isdigit, word)) >= len(word):
        return set()
    letters = next((alphabet for alphabet in _ALPHABETS if set(word) & set(alphabet)), "")
    cuts = [(word[:at], word[at:]) for at in range(len(word) + 1)]
    dropped = {head + tail[1:] for head, tail in cuts if tail}
    swapped = {head + tail[1] + tail[0] + tail[2:] for head, tail in cuts if len(tail) > 1}
    wrong = {head + letter + tail[1:] for head, tail in cuts if tail for letter in letters}
    extra = {head + letter + tail for head, tail in cuts for letter in letters}
    return (dropped | swapped | wrong | extra) - {word}


_SOUNDS = tuple(
    (re.compile(pattern), letters)
    for pattern, letters in (
        ("(?<=.)gh", ""), ("ph", "f"), ("sch", "s"), ("t?ch", "j"), ("c(?=[eiy])", "s"), ("[cq]", "k"),
        ("x", "ks"), ("z", "s"), ("[hy]", ""), ("(?<=.)[aeiou]", ""), (r"(.)\1+", r"\1"),
    )
)  # fmt: skip
MIN_SOUND_LENGTH = 3  # consonants; fewer are shared by too many words
MIN_SIMILARITY = 0.65  # of 1: how much of two words with the same sound must be the same letters


def sound_key(word: str) -> str:
    """How a word sounds, roughly: its consonants. The same for `ghandi` and `gandhi`, `jurrasic` and `jurassic`.

    Nothing for words of other alphabets than the Latin, and for those with too few consonants to tell.
    """
    if not word.isascii() or not word.isalpha():
        return ""
    for pattern, letters in _SOUNDS:
        word = pattern.sub(letters, word)
    return word if len(word) >= MIN_SOUND_LENGTH else ""


_DOUBLED = re.compile(r"(.)\1+")


def without_doubled_letters(word: str) -> str:
    """The word without doubled letters: the same for `mama` and `mamma`."""
    return _DOUBLED.sub(r"\1", word)


def is_similar(word: str, other: str) -> bool:
    """Whether two words of one sound are written so much alike that one may be meant by the other."""
    return SequenceMatcher(None, word, other).ratio() >= MIN_SIMILARITY
