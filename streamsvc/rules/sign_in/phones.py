"""Telephone numbers: proved by a code in a text message, and used to find an account, never to open it.

A number changes hands: carriers reassign it, and a SIM swap moves it to a stranger's card. It is therefore neither a
second factor nor a way to recover an account.
"""

import re
from datetime import timedelta

CODE_DIGITS = 8
CODE_LIFETIME = timedelta(minutes=10)
MAX_CODE_ATTEMPTS = 5
MAX_SENDS = 3
"""How often a message is handed to the gateway if it does not confirm: each may be charged."""
PHONE_FORM = re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII)
SEPARATORS = str.maketrans("", "", " \u00a0-./()")


def strip_separators(text: str) -> str:
    """Remove spaces and the punctuation that people write between digits."""
    return text.strip().translate(SEPARATORS)


def is_e164(text: str) -> bool:
    """Whether the text has the form of E.164, such as +4915112345678."""
    return PHONE_FORM.fullmatch(text) is not None


def mask_phone(number: str) -> str:
    """Return the number with its middle hidden, for messages about it: +49******78."""
    return f"{number[:3]}{'*' * (len(number) - 5)}{number[-2:]}"
