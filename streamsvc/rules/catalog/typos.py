"""The spellings one slip away from a word: a letter dropped, doubled, swapped or wrong.

Instead of comparing a query with every word of the catalogue, each possible slip is written out (a few hundred for a
word of ten letters) and looked up in an index, so the work does not grow with the catalogue.
"""

from string import ascii_lowercase, digits

SHORTEST = 3  # letters; below this nearly every word is one slip away from another
LONGEST = 24

_ALPHABETS = (
    ascii_lowercase + digits,
    "абвгдежзийклмнопрстуфхцчшщъыьэюяёєіїґ",
    "αβγδεζηθικλμνξοπρσςτυφχψω",
)


def one_slip_away(word: str) -> set[str]:
    """Every string at a Damerau distance of one from `word`; none where it is too short or too long to guess.

    Nor for a number, or what is mostly one: each is one slip away from others and means itself.
    """
    if not SHORTEST <= len(word) <= LONGEST or 2 * sum(map(str.isdigit, word)) >= len(word):
        return set()
    letters = next((alphabet for alphabet in _ALPHABETS if set(word) & set(alphabet)), "")
    cuts = [(word[:at], word[at:]) for at in range(len(word) + 1)]
    dropped = {head + tail[1:] for head, tail in cuts if tail}
    swapped = {head + tail[1] + tail[0] + tail[2:] for head, tail in cuts if len(tail) > 1}
    wrong = {head + letter + tail[1:] for head, tail in cuts if tail for letter in letters}
    extra = {head + letter + tail for head, tail in cuts for letter in letters}
    return (dropped | swapped | wrong | extra) - {word}
