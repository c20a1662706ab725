"""One way of writing text for finding it: without case, accents, ligatures and punctuation.

`fold("Léon: The Professional")` is `leon the professional`. Titles and queries pass through the same function, so
what a person types finds what the catalogue says, whichever way either of them writes it.
"""

import re
import unicodedata
from functools import lru_cache
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
ROMAN_NUMERALS = {
    "ii": "2", "iii": "3", "iv": "4", "v": "5", "vi": "6", "vii": "7", "viii": "8", "ix": "9", "x": "10",
    "xi": "11", "xii": "12", "xiii": "13", "xiv": "14", "xv": "15",
}  # fmt: skip
NUMBER_WORDS = dict(zip(
    """one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred""".split(),
    map(str, (*range(1, 21), *range(30, 101, 10))),
    strict=True,
))  # fmt: skip
NUMBER_VALUES = {word: int(digits) for word, digits in NUMBER_WORDS.items()} | {"thousand": 1_000}
ABBREVIATIONS = {
    "doctor": "dr", "mister": "mr", "number": "no", "saint": "st", "versus": "vs", "volume": "vol", "part": "pt",
}  # fmt: skip
ARTICLES = frozenset("the a an le la les der das el los las il".split())


@lru_cache(maxsize=50_000)
def fold_text(text: str) -> str:
    """Lower-case words parted by single spaces. Text of symbols alone becomes their code points, so `$` is found."""
    plain = _ACRONYM.sub(lambda found: found[0].replace(".", "") + " ", _without_accents(text))
    if not plain.isascii():
        plain = _UNSPACED.sub(r" \1 ", _without_vowel_signs(plain))
    folded = _SEPARATORS.sub(" ", plain).strip()
    return folded or " ".join(f"u{ord(symbol):06x}" for symbol in text if not symbol.isspace() and symbol.isprintable())


def _without_accents(text):
    """Small letters without accents; the marks of other scripts, which make another letter, stay."""
    if text.isascii():
        return text.lower().translate(_LETTERS)
    lowered = unicodedata.normalize("NFKC", text).casefold().translate(_LETTERS)
    lowered = unicodedata.normalize("NFKD", lowered).casefold().translate(_LETTERS)
    plain = "".join(letter for letter in lowered if not "\u0300" <= letter <= "\u036f")
    return unicodedata.normalize("NFC", plain)


def _without_vowel_signs(text):
    """Vowel signs of Indic and other scripts belong to the word; `re` takes them for separators."""
    return "".join(letter for letter in text if unicodedata.category(letter) not in ("Mn", "Mc", "Me", "Cf"))


def without_spaces(folded: str) -> str:
    """Folded text without its spaces: what `Spider-Man`, `spider man` and `spiderman` have in common."""
    return folded.replace(" ", "")


def alternative_spellings(word: str, first: bool = False) -> list[str]:
    """Other ways to write a word: `iv` and `four` as `4`, `doctor` as `dr`. A first word is no Roman numeral."""
    ways = (NUMBER_WORDS.get(word), ABBREVIATIONS.get(word), None if first else ROMAN_NUMERALS.get(word))
    return [way for way in ways if way]


def joined_words(folded: str) -> list[str]:
    """Each word joined to the next, and its other readings: ways in which people write these words."""
    words = folded.split()
    others = [way for at, word in enumerate(words) for way in alternative_spellings(word, first=at == 0)]
    others += [word for word in replace_number_words(words) if word not in words]
    return [first + second for first, second in pairwise(words)] + others


def replace_number_words(words: list[str]) -> list[str]:
    """The words with each number of several words in digits; the same where there is none.

    `twenty two` is `22`, `one hundred and one` is `101`, and `one two three`, read digit by digit, `123`.
    """
    found, at = [], 0
    while at < len(words):
        digits, end = _digits_at(words, at)
        value, behind = (digits, end) if end - at > 1 else _number_at(words, at)
        several = behind - at > 1
        found.append(value if several else words[at])
        at = behind if several else at + 1
    return found


def _digits_at(words, at):
    """The digits that stand here one by one, and where they end."""
    end = at
    while end < len(words) and 0 < NUMBER_VALUES.get(words[end], 0) < 10:
        end += 1
    return "".join(NUMBER_WORDS[word] for word in words[at:end]), end


def _number_at(words, at):
    """The number in words that stands here, and where it ends: each word fills what room the one before it leaves."""
    thousands, rest, room, end = 0, 0, 1_000, at
    for place, word in enumerate(words[at:], at):
        value = NUMBER_VALUES.get(word, 0)
        if word == "and" and (room == 100 or (thousands and room == 1_000)):
            continue
        if value == 1_000 and not thousands:
            thousands, rest, room = (rest or 1) * value, 0, 1_000
        elif value == 100 and rest < 100 and room != 100:
            rest, room = (rest or 1) * value, 100
        elif 0 < value < min(room, 100):
            rest, room = rest + value, 1 if value < 20 else 10
        else:
            break
        end = place + 1
    return str(thousands + rest), end


def without_article(folded: str) -> str:
    """`matrix` for `the matrix`; the same where no article begins it, or nothing follows."""
    first, _, rest = folded.partition(" ")
    return rest if rest and first in ARTICLES else folded


def slugify(text: str) -> str:
    """`Science Fiction` → `science-fiction`: how a genre or a collection is named in an address."""
    return fold_text(text).replace(" ", "-")
