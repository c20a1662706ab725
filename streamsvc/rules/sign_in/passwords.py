"""Which passwords are taken: long enough, not on the lists that attackers try first, not the owner's own name."""

import unicodedata

MAX_PASSWORD_BYTES = 1024
SERVICE_WORDS = ("streamsvc", "stream", "streaming", "password", "passwort", "premium", "standard", "basic")


def normalize_password(password: str) -> str:
    """NFC: the same characters, whichever keyboard composed them. Nothing else is changed, nothing is cut."""
    return unicodedata.normalize("NFC", password)


def password_errors(password: str, min_length: int, is_breached, names: tuple[str, ...] = ()) -> list[str]:
    """Why this password is not taken, in sentences; empty where it is. `is_breached(password)` knows the lists."""
    if len(password) < min_length:
        return [f"Use at least {min_length} characters."]
    if len(password.encode()) > MAX_PASSWORD_BYTES:
        return [f"Use at most {MAX_PASSWORD_BYTES} bytes."]
    if len(set(password)) < 3:
        return ["Use more different characters."]
    if is_breached(password):
        return ["This password stands on lists that attackers try first; choose another."]
    if _consists_mostly_of(password, (*SERVICE_WORDS, *names)):
        return ["Do not build it from your e-mail, your name, or the name of the service or a plan."]
    return []


def _consists_mostly_of(password: str, words) -> bool:
    """Whether little remains of the password when the words are taken out of it."""
    left = password.casefold()
    for word in sorted({w.casefold() for w in words if w and len(w) >= 4}, key=len, reverse=True):
        left = left.replace(word, "")
    return len(left) < max(4, len(password) // 3) and left != password.casefold()


def personal_words(email: str, name: str | None = None) -> tuple[str, ...]:
    """The words that an owner is known by."""
    local, _, domain = email.partition("@")
    return (email, local, domain, domain.partition(".")[0], *(name or "").split())
