"""Normalizes usernames and telephone numbers, with the libraries of the extra `identifiers`.

The libraries are imported on first use: a service without usernames and telephone numbers does not load them.
"""

import gzip
from functools import cache
from pathlib import Path
from typing import Any

from streamsvc.rules.sign_in.phones import is_e164, strip_separators
from streamsvc.rules.sign_in.usernames import RESERVED_NAMES, confusable_skeleton, username_error

CONFUSABLES_FILE = Path(__file__).parent.parent / "data" / "confusables.txt.gz"


class IdentifierInvalid(Exception):
    """The text is not a valid username or telephone number; the message says why."""


def normalize_username(text: str) -> str:
    """Return a username in the form that is stored and compared. Raises IdentifierInvalid."""
    try:
        username = str(_username_profile().enforce(text.strip()))
    except UnicodeEncodeError:
        raise IdentifierInvalid("Must contain only letters, digits, dots, dashes and underscores.") from None
    if error := username_error(username):
        raise IdentifierInvalid(error)
    return username


def username_skeleton(username: str) -> str:
    """Return what is equal for usernames that look alike."""
    return confusable_skeleton(username, _prototypes())


def is_reserved_username(username: str) -> bool:
    """Whether the username is reserved, or looks like a reserved one."""
    return username_skeleton(username) in _reserved_skeletons()


def normalize_phone(text: str) -> tuple[str, str]:
    """Return a mobile number in E.164 and its country. Raises IdentifierInvalid."""
    import phonenumbers

    number = strip_separators(text)
    if not is_e164(number):
        raise IdentifierInvalid("Must be a number with its country code, such as +4915112345678.")
    try:
        parsed = phonenumbers.parse(number)
    except phonenumbers.NumberParseException:
        raise IdentifierInvalid("Must be a valid telephone number.") from None
    kinds = phonenumbers.PhoneNumberType
    if not phonenumbers.is_valid_number(parsed):
        raise IdentifierInvalid("Must be a valid telephone number.")
    if phonenumbers.number_type(parsed) not in (kinds.MOBILE, kinds.FIXED_LINE_OR_MOBILE):
        raise IdentifierInvalid("Must be the number of a mobile telephone.")
    country = phonenumbers.region_code_for_number(parsed)
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164), country or ""


def calling_code(number: str) -> str:
    """Return the country calling code of a number in E.164: 49."""
    import phonenumbers

    return str(phonenumbers.parse(number).country_code)


@cache
def _username_profile() -> Any:
    from precis_i18n import get_profile

    return get_profile("UsernameCaseMapped")


@cache
def _prototypes() -> dict[int, str]:
    with gzip.open(CONFUSABLES_FILE, "rt", encoding="utf-8") as lines:
        pairs = [line.strip().split(";") for line in lines if not line.startswith("#")]
    return {int(source, 16): "".join(chr(int(c, 16)) for c in target.split()) for source, target in pairs}


@cache
def _reserved_skeletons() -> frozenset[str]:
    return frozenset(map(username_skeleton, RESERVED_NAMES))
