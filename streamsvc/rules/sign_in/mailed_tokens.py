"""The lifetimes of mailed tokens: single-use secrets that prove access to a mailbox."""

from datetime import timedelta

from streamsvc.rules.rate_limits import MAIL_FROM_ADDRESS, MAIL_TO_ADDRESS

MAILED_TOKEN_LIFETIMES = {
    "sign_up": timedelta(hours=24),
    "email_verification": timedelta(hours=24),
    "password_reset": timedelta(minutes=30),
    "email_change": timedelta(hours=24),
    "email_undo": timedelta(days=7),
    "new_device": timedelta(days=7),
    "factor_added": timedelta(days=7),
    "account_recovery": timedelta(days=7),
    "recovery_notice": timedelta(days=7),
    "magic_link": timedelta(minutes=10),
    "sign_in_code": timedelta(minutes=10),
    "operator_invitation": timedelta(hours=24),
    "profile_transfer": timedelta(days=7),
    "reauthentication_code": timedelta(minutes=10),
}
INDEPENDENT_KINDS = frozenset({"new_device", "factor_added", "email_undo", "profile_transfer"})
"""Kinds of which each token is about something of its own: using one leaves the others open."""


def fresh_period(kind: str) -> timedelta:
    """Return how long a token counts as fresh: half its lifetime, so that its owner still has time to use it."""
    return MAILED_TOKEN_LIFETIMES[kind] / 2


def is_mail_due(exhausted: str | None, *, is_known_network: bool, has_fresh_link: bool) -> bool:
    """Whether a requested link is mailed. Nobody can keep an owner from getting one by requesting many.

    `exhausted`: the name of the limit that is exhausted, if any. Beyond a limit, a fresh link stays good, and another
    one is sent as soon as there is none. Requests of strangers do not count against a network that the account was used
    from before. A network that requests mails for many accounts is cut off, except for accounts that were used there.
    """
    if exhausted is None or (exhausted == MAIL_TO_ADDRESS.name and is_known_network):
        return True
    return not has_fresh_link and (exhausted != MAIL_FROM_ADDRESS.name or is_known_network)
