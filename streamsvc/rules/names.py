"""What a name or a message typed by a person may contain, so that it shows as what it is (Unicode TR 36, 2.10)."""

import unicodedata

_BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_JOINERS = frozenset("\u200c\u200d")
"""ZWNJ and ZWJ: needed within Persian and Indic words and in emoji, so allowed between visible characters."""
_BLANKS = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters and symbols by category that show nothing: Hangul fillers, and Braille without dots."""
_EMOJI_FROM, _EMOJI_TO = "\U0001f000", "\U0001faff"
"""Unicode reserves the unassigned characters of these blocks for emoji: a newer phone may already have them."""
_FLAG, _TAGS = "\U0001f3f4", range(0xE0020, 0xE0080)
"""The flags of England, Scotland and Wales are a black flag and tag characters."""


def is_visible(text: str) -> bool:
    """Whether the text has a character that can be seen: a letter, digit, punctuation mark or symbol."""
    return any((unicodedata.category(c)[0] in "LNPS" and c not in _BLANKS) or _is_emoji(c) for c in text)


def find_forbidden_character(text: str, line_breaks: bool = False) -> str | None:
    """Find a character that hides itself or changes others: a control, a bidi control, an invisible or unassigned one.

    `line_breaks`: allow them, and tabs.
    """
    for position, char in enumerate(text):
        before, after = text[position - 1 : position], text[position + 1 : position + 2]
        if char in _JOINERS:
            if not (_can_join(before) and _can_join(after)):
                return char
        elif ord(char) in _TAGS:
            if _FLAG not in text[:position]:
                return char
        elif not (line_breaks and char in "\n\r\t") and _is_forbidden(char):
            return char
    return None


def _can_join(char: str) -> bool:
    return bool(char) and not char.isascii() and unicodedata.category(char)[0] in "LMS"


def _is_forbidden(char: str) -> bool:
    category = unicodedata.category(char)
    if category == "Cn":
        return not _is_emoji(char)
    return char in _BIDI_CONTROLS or char in _BLANKS or category in ("Cc", "Cf", "Co", "Cs", "Zl", "Zp")


def _is_emoji(char: str) -> bool:
    return _EMOJI_FROM <= char <= _EMOJI_TO
