"""One way of writing text for finding it: without case, accents, ligatures and punctuation.

`fold("Léon: The Professional")` is `leon the professional`. Titles and queries pass through the same function, so
what a person types finds what the catalogue says, whichever way either of them writes it.
"""

import re
import unicodedata
from itertools import pairwise

_LETTERS = str.maketrans(
    {
        "œ": "oe", "æ": "ae", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "ł": "l", "ħ": "h", "ı": "i", "ŋ": "n",
        "ŧ": "t", "ĸ": "k", "ſ": "s", "ə": "e", "&": " and ",
        "'": "", "’": "", "‘": "", "ʼ": "", "ʻ": "", "`": "", "´": "", "′": "", "ʹ": "",
    }
)  # fmt: skip
_ACRONYM = re.compile(r"\b(?:\w\.){2,}")  # R.E.M., E.T.
_SEPARATORS = re.compile(r"[\W_]+")
# Scripts that are written without spaces: each character is a word of its own.
_UNSPACED = re.compile(
    "([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff])"
)
_ROMAN = {
    "ii": "2", "iii": "3", "iv": "4", "v": "5", "vi": "6", "vii": "7", "viii": "8", "ix": "9", "x": "10",
    "xi": "11", "xii": "12", "xiii": "13", "xiv": "14", "xv": "15",
}  # fmt: skip


def fold(text: str) -> str:
    """Lower-case words parted by single spaces. Text of symbols alone becomes their code points, so `$` is found."""
    lowered = unicodedata.normalize("NFKC", text).casefold().translate(_LETTERS)
    lowered = unicodedata.normalize("NFKD", lowered).casefold().translate(_LETTERS)
    plain = "".join(letter for letter in lowered if not "\u0300" <= letter <= "\u036f")
    plain = _ACRONYM.sub(lambda found: found[0].replace(".", "") + " ", unicodedata.normalize("NFC", plain))
    folded = _SEPARATORS.sub(" ", _UNSPACED.sub(r" \1 ", _kept_marks(plain))).strip()
    return folded or " ".join(f"u{ord(symbol):x}" for symbol in text if not symbol.isspace() and symbol.isprintable())


def _kept_marks(text):
    """Vowel signs of Indic and other scripts belong to the word; `re` takes them for separators."""
    if text.isascii():
        return text
    return "".join("" if unicodedata.category(letter) in ("Mn", "Mc", "Me", "Cf") else letter for letter in text)


def compact(folded: str) -> str:
    """Folded text without its spaces: what `Spider-Man`, `spider man` and `spiderman` have in common."""
    return folded.replace(" ", "")


def joined(folded: str) -> list[str]:
    """Each word joined to the next, and Roman numerals as digits: other ways in which people write these words."""
    words = folded.split()
    pairs = [first + second for first, second in pairwise(words)]
    return pairs + [_ROMAN[word] for word in words[1:] if word in _ROMAN]


def slug(text: str) -> str:
    """`Science Fiction` → `science-fiction`: how a genre or a collection is named in an address."""
    return fold(text).replace(" ", "-")
