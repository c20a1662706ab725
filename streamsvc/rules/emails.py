"""Canonical forms of email addresses, so that neither capitals nor look-alikes allow a second account."""

import unicodedata

import idna
from confusable_homoglyphs import categories, confusables
from precis_i18n import get_profile

_LOCAL_PART = get_profile("UsernameCaseMapped")  # RFC 8265, 3.3
_ANY_SCRIPT = frozenset({"COMMON", "INHERITED"})
_LOOK_ALIKE_SCRIPTS = frozenset({"LATIN", "CYRILLIC", "GREEK"})
"""Of these at most one in a word: the moderately restrictive level of UTS 39, 5.2."""


def email_key(email: str) -> str:
    """Return the form that must be unique among accounts: NFKC and lower case, the domain in ASCII (UTS 46).

    Dots and tags stay, since they may be significant.
    """
    local, _, domain = unicodedata.normalize("NFC", email.strip()).rpartition("@")
    return f"{unicodedata.normalize('NFKC', local).casefold()}@{_ascii_domain(domain)}"


def canonical_email(email: str) -> str:
    """Return the form that is stored and used in mail: NFC, the domain in lower case, the local part as given."""
    local, _, domain = unicodedata.normalize("NFC", email.strip()).rpartition("@")
    return f"{local}@{domain.lower()}"


def new_email_error(email: str) -> str | None:
    """Say what keeps an address from being registered: characters that no username may have, or look-alike scripts.

    Addresses in ASCII pass. Those of accounts that exist already are not judged.
    """
    local, _, domain = email.strip().rpartition("@")
    if not domain.isascii() and _encode_domain(domain) is None:
        return "Must have a valid domain."
    if local.isascii():
        return None
    try:
        local = _LOCAL_PART.enforce(local)
    except UnicodeEncodeError:
        return "Must not contain symbols or invisible characters beyond ASCII before the @."
    scripts = {categories.alias(char).upper() for char in local} - _ANY_SCRIPT
    if len(scripts & _LOOK_ALIKE_SCRIPTS) > 1:
        return "Must not mix Latin, Cyrillic and Greek letters before the @."
    return None


def imitated_email_key(email: str) -> str | None:
    """Return the key of the ASCII address that this one looks like letter by letter (UTS 39, 4), or None.

    Cyrillic `роса` looks like `poca`: that is an ordinary word, and a forgery only where `poca` has an account.
    """
    local, _, domain = email_key(email).rpartition("@")
    if local.isascii():
        return None
    letters = [_ascii_look_alike(char) for char in local]
    return None if None in letters else f"{''.join(filter(None, letters))}@{domain}"


def _ascii_look_alike(char: str) -> str | None:
    if char.isascii():
        return char
    found = confusables.is_confusable(char, greedy=True) or []
    candidates = [glyph["c"] for entry in found for glyph in entry["homoglyphs"]]
    return next((text.lower() for text in candidates if len(text) == 1 and text.isascii() and text.isalnum()), None)


def _ascii_domain(domain: str) -> str:
    return _encode_domain(domain) or unicodedata.normalize("NFKC", domain).casefold()


def _encode_domain(domain: str) -> str | None:
    if domain.isascii():
        return domain.lower()
    try:
        return idna.encode(domain, uts46=True).decode().lower()
    except (idna.IDNAError, UnicodeError):
        return None
