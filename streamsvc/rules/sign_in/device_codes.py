"""Device codes to sign in a television from a phone (RFC 8628)."""

from datetime import timedelta

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:device_code"
DEVICE_CODE_PREFIX = "dvc_"
USER_CODE_ALPHABET = "BCDFGHJKLMNPQRSTVWXZ"
"""No vowels, so that no words form, and no look-alikes (RFC 8628, 6.1). Eight letters have 34.6 bits."""
USER_CODE_LENGTH = 8
DEVICE_CODE_LIFETIME = timedelta(minutes=10)
POLL_INTERVAL_S = 5
SLOW_DOWN_S = 5


def format_user_code(random_bytes: bytes) -> str:
    """Eight letters derived from random bytes, in a form that is easy to read off a screen: BCDF-GHJK."""
    rest, code = int.from_bytes(random_bytes), ""
    for _ in range(USER_CODE_LENGTH):
        rest, index = divmod(rest, len(USER_CODE_ALPHABET))
        code += USER_CODE_ALPHABET[index]
    return f"{code[:4]}-{code[4:]}"


def normalize_user_code(code: str) -> str:
    """Return the form in which a code is hashed, independent of case, spaces and punctuation as typed."""
    return "user_code:" + "".join(letter for letter in code.upper() if letter in USER_CODE_ALPHABET)
