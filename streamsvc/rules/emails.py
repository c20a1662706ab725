"""One form for each e-mail address, so that one person cannot have two accounts by a capital letter."""

import unicodedata


def email_key(email: str) -> str:
    """The address that accounts are unique by: composed, lower case. Dots and tags are kept; they are not ours."""
    return unicodedata.normalize("NFC", email.strip()).casefold()


def canonical_email(email: str) -> str:
    """The address as it is kept and written to: the domain in lower case, the local part as its owner writes it."""
    local, _, domain = unicodedata.normalize("NFC", email.strip()).rpartition("@")
    return f"{local}@{domain.lower()}"
