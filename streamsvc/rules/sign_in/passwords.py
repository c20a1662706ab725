"""Which passwords are taken: long enough, not on the lists that attackers try first, not the owner's own name."""

import unicodedata

LONGEST_BYTES = 1024
CONTEXT = ("streamsvc", "stream", "streaming", "password", "passwort", "premium", "standard", "basic")


def normal(password: str) -> str:
    """NFC: the same characters, whichever keyboard composed them. Nothing else is changed, nothing is cut."""
    return unicodedata.normalize("NFC", password)


def faults(password: str, shortest: int, is_breached, names: tuple[str, ...] = ()) -> list[str]:
    """Why this password is not taken, in sentences; empty where it is. `is_breached(password)` knows the lists."""
    if len(password) < shortest:
        return [f"Use at least {shortest} characters."]
    if len(password.encode()) > LONGEST_BYTES:
        return [f"Use at most {LONGEST_BYTES} bytes."]
    if len(set(password)) < 3:
        return ["Use more different characters."]
    if is_breached(password):
        return ["This password stands on lists that attackers try first; choose another."]
    if _is_mostly(password, (*CONTEXT, *names)):
        return ["Do not build it from your e-mail, your name, or the name of the service or a plan."]
    return []


def _is_mostly(password: str, words) -> bool:
    """Whether little remains of the password when the words are taken out of it."""
    left = password.casefold()
    for word in sorted({w.casefold() for w in words if w and len(w) >= 4}, key=len, reverse=True):
        left = left.replace(word, "")
    return len(left) < max(4, len(password) // 3) and left != password.casefold()


def names_of(email: str, name: str | None = None) -> tuple[str, ...]:
    """The words that an owner is known by."""
    local, _, domain = email.partition("@")
    return (email, local, domain, domain.partition(".")[0], *(name or "").split())
