"""Signing in a television from a phone: RFC 8628."""

from datetime import timedelta

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:device_code"
DEVICE_CODE_PREFIX = "dvc_"
LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
"""No vowels, so no words; nothing that looks like something else (RFC 8628, 6.1). Eight of them: 34.6 bits."""
USER_CODE_LETTERS = 8
LIFETIME = timedelta(minutes=10)
INTERVAL_S = 5
SLOW_DOWN_S = 5


def user_code_of(bits: bytes) -> str:
    """Eight letters, to be typed from a screen across the room, from many random bits: BCDF-GHJK."""
    rest, code = int.from_bytes(bits), ""
    for _ in range(USER_CODE_LETTERS):
        rest, at = divmod(rest, len(LETTERS))
        code += LETTERS[at]
    return f"{code[:4]}-{code[4:]}"


def user_code_key(code: str) -> str:
    """What the code is recognised by, however it was typed."""
    return "user_code:" + "".join(letter for letter in code.upper() if letter in LETTERS)
