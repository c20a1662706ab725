"""Password rules: length, known breaches, and words that an attacker would try first, such as the owner's name."""

import re
import unicodedata
from collections.abc import Callable, Iterable

MAX_PASSWORD_BYTES = 1024
SERVICE_WORDS = ("streamsvc", "stream", "streaming", "password", "passwort", "premium", "standard", "basic")
LETTERS = re.compile(r"[^\W\d_]+")


def normalize_password(password: str) -> str:
    """NFC, so that a password matches however a keyboard composed its characters. It is not changed otherwise."""
    return unicodedata.normalize("NFC", password)


def password_errors(
    password: str, min_length: int, is_breached: Callable[[str], bool], words: tuple[str, ...] = ()
) -> list[str]:
    """Return the reasons to reject a password, as sentences; empty if it is acceptable.

    `is_breached(password)` looks it up in breaches. `words` are the owner's, the service's and the plans' names.
    """
    if len(password) < min_length:
        return [f"Use at least {min_length} characters."]
    if len(password.encode()) > MAX_PASSWORD_BYTES:
        return [f"Use at most {MAX_PASSWORD_BYTES} bytes."]
    if len(set(password)) < 3:
        return ["Use more different characters."]
    if is_breached(password):
        return ["This password is known from data breaches. Choose another one."]
    if _consists_mostly_of(password, (*SERVICE_WORDS, *words)):
        return ["Do not base the password on your email address, your name, or the name of the service or a plan."]
    return []


def _consists_mostly_of(password: str, words: Iterable[str]) -> bool:
    """Whether little of the password remains after removing the words from it."""
    rest = password.casefold()
    for word in sorted({word.casefold() for word in words if word and len(word) >= 4}, key=len, reverse=True):
        rest = rest.replace(word, "")
    return len(rest) < max(4, len(password) // 3) and rest != password.casefold()


def personal_words(email: str, name: str | None = None) -> tuple[str, ...]:
    """Words of an owner's email address and name: of `ann.baker85@…` also "ann", "baker" and "annbaker"."""
    local, _, domain = email.partition("@")
    parts = LETTERS.findall(local)
    return (email, local, *parts, "".join(parts), domain, domain.partition(".")[0], *(name or "").split())
