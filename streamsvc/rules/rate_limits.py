"""Rate limits and back-off: how many attempts a subject has, and how long it then waits.

A `RateLimit` allows a number of attempts per time window. A `Backoff` allows a few freely, then one after each of a
series of growing waits. Attempts are counted before they are made, so that a hundred concurrent ones count as a
hundred.
"""

import ipaddress
from dataclasses import dataclass

MINUTE_S = 60
HOUR_S = 60 * MINUTE_S
DAY_S = 24 * HOUR_S


@dataclass(frozen=True)
class RateLimit:
    """At most `max_attempts` in `window_s` seconds, counted from the first."""

    name: str
    max_attempts: int
    window_s: int

    def is_exhausted_at(self, count: int) -> bool:
        """Whether no attempt is left after attempt number `count`."""
        return count >= self.max_attempts


@dataclass(frozen=True)
class Backoff:
    """`free_attempts` in a row, then one after each of `waits_s`, of which the last repeats.

    After `max_attempts` there is a wait of `lockout_s`. A success resets the back-off, and so do `reset_after_s`
    seconds without an attempt.
    """

    name: str
    free_attempts: int = 5
    waits_s: tuple[int, ...] = (MINUTE_S, 2 * MINUTE_S, 4 * MINUTE_S, 8 * MINUTE_S, 15 * MINUTE_S)
    max_attempts: int = 100
    lockout_s: int = 30 * DAY_S
    reset_after_s: int = 7 * DAY_S

    def wait_s(self, count: int) -> int:
        """Seconds from attempt number `count` until the next is allowed."""
        if count >= self.max_attempts:
            return self.lockout_s
        step = count - self.free_attempts
        return 0 if step < 0 else self.waits_s[min(step, len(self.waits_s) - 1)]

    def is_exhausted_at(self, count: int) -> bool:
        """Whether attempt number `count` starts a wait."""
        return count >= self.free_attempts


SIGN_IN_ACCOUNT = Backoff("sign_in.account")
"""One identifier, existing or not, tried from devices unknown to the account."""
SIGN_IN_DEVICE = Backoff("sign_in.device", free_attempts=10)
"""One device known to the account: attempts from other devices do not affect it."""
SIGN_IN_ADDRESS = RateLimit("sign_in.address", 20, 10 * MINUTE_S)
SIGN_IN_ADDRESS_DAY = RateLimit("sign_in.address_day", 100, DAY_S)
SPRAYED_IDENTIFIER = RateLimit("sign_in.sprayed_identifier", 1, HOUR_S)
SPRAYED_ADDRESS = RateLimit("sign_in.sprayed_address", 10, HOUR_S)
"""How many different identifiers may fail from one address per hour."""
SIGN_UP_ADDRESS = RateLimit("sign_up.address", 1_000, HOUR_S)
SESSION_USES = RateLimit("sessions.uses", 20, 1)
"""How many sessions' last use one process records per second; the others' is recorded at a later request."""
GUEST_ADDRESS = RateLimit("guests.address", 1_000, HOUR_S)
"""Guests that start from one address; apart from sign-ups, which they must not use up."""
PIN = Backoff("pin", waits_s=(15 * MINUTE_S,))
"""PINs of one profile, tried on one device: wrong ones do not lock the profile on the other devices."""
PIN_TOTAL = RateLimit("pin.total", 50, DAY_S)
"""Wrong PINs of one profile on all devices. It does not hold for whoever authenticated recently as the owner."""
SECOND_FACTOR = Backoff("second_factor")
SECOND_FACTOR_TOTAL = RateLimit("second_factor.total", 300, 30 * DAY_S)
"""Wrong second factors of an account from unknown devices, or of one known device. A password reset clears the back-off
but not this limit, so that whoever reads the mailbox cannot reset the password again and again to guess codes."""
REAUTHENTICATION = Backoff("reauthentication")
SECRET_BY_ADDRESS = RateLimit("secret.address", 100, HOUR_S)
"""Tokens and codes tried from one address."""
CHALLENGES_BY_ADDRESS = RateLimit("challenges.address", 300, HOUR_S)
CHALLENGE_TOKENS = RateLimit("challenge_tokens.address", 60, HOUR_S)
"""Challenge tokens from one address, each of which costs a call to the challenge provider."""
CATALOG_READS = "catalog.address"
"""Catalogue reads without a token from one address; how many is a setting."""
AUTHZ_FAILURE = RateLimit("authz_fail", 1, HOUR_S)
"""How often the audit log records the same principal being denied the same view for the same reason."""
STORE_PURCHASES_BY_ACCOUNT = RateLimit("store_purchases.account", 60, HOUR_S)
"""Apps report all purchases that they find on a device whenever they start."""
DECLINES_BY_ACCOUNT = RateLimit("payment.declines_account", 5, HOUR_S)
DECLINES_BY_ACCOUNT_DAY = RateLimit("payment.declines_account_day", 20, DAY_S)
DECLINES_BY_CARD = RateLimit("payment.declines_card", 10, DAY_S)
"""Declined payments of one card, whichever account adds it."""
DECLINES_BY_ADDRESS = RateLimit("payment.declines_address", 200, HOUR_S)
"""Many homes share the address of a carrier: this limit is for whoever opens an account for each card."""
CARDS_BY_ACCOUNT = RateLimit("cards.account", 10, DAY_S)
CARDS_BY_ADDRESS = RateLimit("cards.address", 1_000, HOUR_S)
CARD_SETUPS_BY_ACCOUNT = RateLimit("card_setups.account", 20, DAY_S)
PAYMENT_REFRESHES = RateLimit("payment.refresh", 30, MINUTE_S)
"""How often one account may have the payment provider asked for the state of its payments."""
GIFT_CODES_BY_ACCOUNT = RateLimit("gift_codes.account", 20, HOUR_S)
"""Gift codes that one account tries."""
GIFT_MAILS_BY_ACCOUNT = RateLimit("mail.gifts_account", 20, DAY_S)
"""Mails with gifts that one account can cause to be sent to others."""
GIFT_MAILS_TO_ADDRESS = RateLimit("mail.gifts_to", 5, DAY_S)
"""Mails with gifts to one address, whoever sends them."""
LICENSES_BY_ACCOUNT = RateLimit("licenses.account", 120, 10 * MINUTE_S)
"""DRM licences that one account's players request: a few for each stream, one per key and renewal."""
PROFILE_TRANSFERS_BY_ACCOUNT = RateLimit("mail.profile_transfers", 10, DAY_S)
"""Mails with which one account offers its profiles to others."""
PROFILE_TRANSFERS_TO_ADDRESS = RateLimit("mail.profile_transfers_to", 5, DAY_S)
MAIL_TO_ADDRESS_BY_SOURCE = RateLimit("mail.to_by_source", 5, HOUR_S)
"""Mails to one address that anyone can cause to be sent, by the network address that requests them."""
MAIL_TO_ADDRESS = RateLimit("mail.to", 10, HOUR_S)
"""The same from all network addresses, of which each counts only up to its own limit."""
MAIL_FROM_ADDRESS = RateLimit("mail.from", 100, HOUR_S)
SMS_BY_ACCOUNT = RateLimit("sms.account", 5, DAY_S)
SMS_TO_NUMBER = RateLimit("sms.number", 5, DAY_S)
SMS_FROM_ADDRESS = RateLimit("sms.address", 20, HOUR_S)


def source_network(address: str | None) -> str:
    """Return the unit that counts as one source: an IPv4 address, or the /64 assigned to an IPv6 customer."""
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return "unknown"
    if parsed.version == 4:
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False))
