"""Text folding for search: without case, accents, ligatures and punctuation.

`fold_text("Léon: The Professional")` is `leon the professional`. Titles and queries pass through the same function, so
they match however either is written.
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
# Scripts written without spaces: each character counts as a word.
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
ORDINALS = {
    "first": "1", "second": "2", "third": "3", "fourth": "4", "fifth": "5", "sixth": "6", "seventh": "7", "eighth": "8",
    "ninth": "9", "tenth": "10",
}  # fmt: skip
FOREIGN_NUMBER_WORDS = {
    word: str(number)
    for words in (
        "zwei drei vier funf sechs sieben acht neun zehn elf zwolf",
        "deux trois quatre cinq six sept huit neuf dix onze douze",
        "dos tres cuatro cinco seis siete ocho nueve diez - doce",
        "- tre quattro cinque sei sette otto nove dieci undici dodici",
        "dois tres quatro cinco seis sete oito nove dez onze doze",
    )
    for number, word in enumerate(words.split(), 2)
    if word != "-"
}
"""German, French, Spanish, Italian and Portuguese, as they are folded; `once` and `due` are English words too."""
ABBREVIATIONS = {
    "doctor": "dr", "mister": "mr", "number": "no", "saint": "st", "versus": "vs", "volume": "vol", "part": "pt",
}  # fmt: skip
ARTICLES = frozenset("the a an le la les der das el los las il".split())


@lru_cache(maxsize=50_000)
def fold_text(text: str) -> str:
    """Return lower-case words separated by single spaces.

    Text of symbols alone becomes their code points, so that `$` can be found.
    """
    plain = _ACRONYM.sub(lambda match: match[0].replace(".", "") + " ", _without_accents(text))
    if not plain.isascii():
        plain = _UNSPACED.sub(r" \1 ", _without_vowel_signs(plain))
    folded = _SEPARATORS.sub(" ", plain).strip()
    return folded or " ".join(f"u{ord(symbol):06x}" for symbol in text if not symbol.isspace() and symbol.isprintable())


def _without_accents(text: str) -> str:
    """Return lower-case text without accents; marks of other scripts, which form other letters, stay."""
    if text.isascii():
        return text.lower().translate(_LETTERS)
    lowered = unicodedata.normalize("NFKC", text).casefold().translate(_LETTERS)
    lowered = unicodedata.normalize("NFKD", lowered).casefold().translate(_LETTERS)
    plain = "".join(letter for letter in lowered if not "\u0300" <= letter <= "\u036f")
    return unicodedata.normalize("NFC", plain)


def _without_vowel_signs(text: str) -> str:
    """Drop the vowel signs of Indic and other scripts, which belong to a word but which `re` treats as separators."""
    return "".join(letter for letter in text if unicodedata.category(letter) not in ("Mn", "Mc", "Me", "Cf"))


def without_spaces(folded: str) -> str:
    """Return folded text without spaces, the same for `Spider-Man`, `spider man` and `spiderman`."""
    return folded.replace(" ", "")


def alternative_spellings(word: str, first: bool = False) -> list[str]:
    """Return other spellings of a word: `4` for `iv` and `four`, `dr` for `doctor`.

    The first word of a name is never a Roman numeral.
    """
    spellings = (
        NUMBER_WORDS.get(word),
        ABBREVIATIONS.get(word),
        ORDINALS.get(word),
        None if first else ROMAN_NUMERALS.get(word),
    )
    return [spelling for spelling in spellings if spelling]


def joined_words(folded: str) -> list[str]:
    """Return each word joined to the next, and the other spellings of words and numbers."""
    words = folded.split()
    spellings = [
        spelling for index, word in enumerate(words) for spelling in alternative_spellings(word, first=index == 0)
    ]
    spellings += [word for word in replace_number_words(words) if word not in words]
    return [first + second for first, second in pairwise(words)] + spellings


def replace_number_words(words: list[str]) -> list[str]:
    """Return the words with each number of several words in digits; unchanged if there is none.

    `twenty two` is `22`, `one hundred and one` is `101`, and `one two three`, read digit by digit, `123`.
    """
    if NUMBER_VALUES.keys().isdisjoint(words):
        return words
    replaced, index = [], 0
    while index < len(words):
        digits, end = _digits_at(words, index)
        value, after = (digits, end) if end - index > 1 else _number_at(words, index)
        is_number = after - index > 1
        replaced.append(value if is_number else words[index])
        index = after if is_number else index + 1
    return replaced


def _digits_at(words: list[str], index: int) -> tuple[str, int]:
    """Return the digits spelled one by one from an index on, and the index after them."""
    end = index
    while end < len(words) and 0 < NUMBER_VALUES.get(words[end], 0) < 10:
        end += 1
    return "".join(NUMBER_WORDS[word] for word in words[index:end]), end


def _number_at(words: list[str], start: int) -> tuple[str, int]:
    """Return the number spelled in words from an index on, and the index after it.

    Each word must be smaller than the `limit` that the previous one sets: 10 after `twenty`, 100 after `hundred`.
    """
    thousands, rest, limit, end = 0, 0, 1_000, start
    for index, word in enumerate(words[start:], start):
        value = NUMBER_VALUES.get(word, 0)
        if word == "and" and (limit == 100 or (thousands and limit == 1_000)):
            continue
        if value == 1_000 and not thousands:
            thousands, rest, limit = (rest or 1) * value, 0, 1_000
        elif value == 100 and rest < 100 and limit != 100:
            rest, limit = (rest or 1) * value, 100
        elif 0 < value < min(limit, 100):
            rest, limit = rest + value, 1 if value < 20 else 10
        else:
            break
        end = index + 1
    return str(thousands + rest), end


def without_article(folded: str) -> str:
    """Return `matrix` for `the matrix`; unchanged without a leading article, or if nothing follows it."""
    first, _, rest = folded.partition(" ")
    return rest if rest and first in ARTICLES else folded


def is_unspaced(word: str) -> bool:
    """Whether a word is one character of a script that is written without spaces."""
    return _UNSPACED.fullmatch(word) is not None


_DIGRAPHS = re.compile("(?<=.)([aou])e(?=.)|aa")


def without_digraphs(word: str) -> str:
    """Return `kopenick`, as `Köpenick` is folded, for `koepenick`, as it is typed on other keyboards."""
    return _DIGRAPHS.sub(lambda match: match[1] or "a", word)


def slugify(text: str) -> str:
    """Return `science-fiction` for `Science Fiction`: the code of a genre or a collection in URLs."""
    return fold_text(text).replace(" ", "-")


def sanitize_text(text: str, max_length: int) -> str:
    """Return text from an untrusted file in a form that can be stored: well-formed, without NUL, and truncated."""
    return text.encode(errors="replace").decode().replace("\0", "\ufffd")[:max_length]


def is_storable(text: str) -> bool:
    """Whether both databases can store and compare the text: no lone surrogates, no NUL."""
    return text == sanitize_text(text, len(text))
