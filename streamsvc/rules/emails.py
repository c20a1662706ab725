"""Canonical forms of email addresses, so that capital letters do not allow a second account."""

import unicodedata


def email_key(email: str) -> str:
    """Return the form that must be unique among accounts: NFC and lower case.

    Dots and tags stay, since they may be significant.
    """
    return unicodedata.normalize("NFC", email.strip()).casefold()


def canonical_email(email: str) -> str:
    """Return the form that is stored and used in mail: NFC, the domain in lower case, the local part as given."""
    local, _, domain = unicodedata.normalize("NFC", email.strip()).rpartition("@")
    return f"{local}@{domain.lower()}"
