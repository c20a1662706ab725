"""An account's name for the app stores: a UUID with the same bits as its id, so that neither has to be looked up.

Apps pass it as StoreKit's `appAccountToken` and as Google Play's `obfuscatedAccountId`.
"""

import uuid

PREFIX = "acc_"
DIGITS = "0123456789abcdefghijklmnopqrstuv"
LENGTH = 26


def format_store_account_id(account_id: str) -> str:
    """Return the UUID of an account's id: `acc_06f1…` -> `0x…-…`, in lower case."""
    digits = f"{int(account_id.removeprefix(PREFIX), 32) & (1 << 128) - 1:032x}"  # str(UUID) takes four times as long
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def parse_store_account_id(text: str | None) -> str | None:
    """Return the account id of its UUID; None for what is no UUID. The account need not exist."""
    try:
        number = uuid.UUID(text or "").int
    except ValueError:
        return None
    return PREFIX + "".join(DIGITS[number >> shift & 31] for shift in range(5 * (LENGTH - 1), -1, -5))
