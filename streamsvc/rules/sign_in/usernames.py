"""Usernames: the rules of PRECIS UsernameCaseMapped (RFC 8265), reserved names, and look-alikes (UTS 39).

A username is stored and shown in its case-mapped form. It always starts with a letter and never contains `@` or `+`, so
that it cannot be mistaken for an email address or a telephone number.
"""

import re
import unicodedata
from collections.abc import Mapping

MIN_LENGTH, MAX_LENGTH = 3, 32
PUNCTUATION = "._-"
MODIFIER_LETTERS = "ー々ๆ"
"""The letters of the category Lm that words need: the others look like accents or punctuation."""
DIACRITICS = re.compile("[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]")
"""Combining marks of no script of their own. The marks of Thai, Devanagari and others are vowels, so they distinguish
names."""
RESERVED_NAMES = frozenset(
    """abuse account accounts admin administrator admins anonymous api billing contact deleted guest help helpdesk
    hostmaster info mail me moderator no-reply noreply null official operator owner payment payments postmaster
    privacy root security service settings staff support sysadmin system team undefined user username webmaster
    www""".split()
)


def username_error(username: str) -> str | None:
    """Return what is wrong with a username in its case-mapped form, beyond the rules of PRECIS; None if nothing is."""
    if not MIN_LENGTH <= len(username) <= MAX_LENGTH:
        return f"Must have {MIN_LENGTH} to {MAX_LENGTH} characters."
    if not username[0].isalpha():
        return "Must start with a letter."
    if not all(unicodedata.category(c)[0] in "LNM" or c in PUNCTUATION for c in username):
        return "Must contain only letters, digits, dots, dashes and underscores."
    if any(unicodedata.category(c) == "Lm" and c not in MODIFIER_LETTERS for c in username):
        return "Must not contain modifier letters."
    if DIACRITICS.search(username) or any(_is_detached_mark(username, i) for i in range(1, len(username))):
        return "Must contain accents only as part of a letter, such as é."
    if username[-1] in PUNCTUATION or re.search(r"[._-]{2}", username):
        return "Must not end with a dot, dash or underscore, nor have two of them in a row."
    return None


def confusable_skeleton(username: str, prototypes: Mapping[int, str]) -> str:
    """Return the skeleton of a username: two that look alike have the same one.

    `prototypes` maps characters to what they look like, as `str.translate` takes it. Punctuation and accents do not
    count. Since usernames ignore case, the result of UTS 39's mapping is case-folded and mapped again: `0` looks like
    `O`, and `O` is `o`.
    """
    text = "".join(c for c in username if c not in PUNCTUATION)
    for _ in range(2):
        text = DIACRITICS.sub("", unicodedata.normalize("NFD", text)).translate(prototypes)
        text = DIACRITICS.sub("", unicodedata.normalize("NFD", text)).casefold()
    return text


def _is_detached_mark(username: str, position: int) -> bool:
    """Whether the character is a mark that follows no letter, nor a mark of one."""
    return unicodedata.category(username[position])[0] == "M" and (
        unicodedata.category(username[position - 1])[0] not in "LM"
    )
