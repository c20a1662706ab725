"""How many attempts somebody has, and how long they wait after that.

A `Window` allows so many in so long. A `Ladder` allows a few freely; from then on each attempt opens only after a
wait, and the waits grow. Attempts are counted before they are made, so that a hundred at once are not one.
"""

import ipaddress
from dataclasses import dataclass

MINUTE_S = 60
HOUR_S = 60 * MINUTE_S
DAY_S = 24 * HOUR_S


@dataclass(frozen=True)
class RateLimit:
    """At most `most` attempts in `window_s` seconds, counted from the first."""

    name: str
    max_attempts: int
    window_s: int

    def is_exhausted_at(self, count: int) -> bool:
        """Whether nothing is left after attempt number `count`."""
        return count >= self.max_attempts


@dataclass(frozen=True)
class Backoff:
    """`free` attempts in a row, then one after each of `waits_s` (the last repeats), and after `cap` none for long.

    A success starts it anew, and so do `calm_s` seconds without an attempt.
    """

    name: str
    free_attempts: int = 5
    waits_s: tuple[int, ...] = (MINUTE_S, 2 * MINUTE_S, 4 * MINUTE_S, 8 * MINUTE_S, 15 * MINUTE_S)
    max_attempts: int = 100
    lockout_s: int = 30 * DAY_S
    reset_after_s: int = 7 * DAY_S

    def wait_s(self, count: int) -> int:
        """How long after attempt number `count` the next one opens."""
        if count >= self.max_attempts:
            return self.lockout_s
        step = count - self.free_attempts
        return 0 if step < 0 else self.waits_s[min(step, len(self.waits_s) - 1)]

    def is_exhausted_at(self, count: int) -> bool:
        """Whether a wait begins with attempt number `count`."""
        return count >= self.free_attempts


SIGN_IN_ACCOUNT = Backoff("sign_in.account")
"""One identifier, known or not, tried from devices that the account does not know."""
SIGN_IN_DEVICE = Backoff("sign_in.device", free_attempts=10)
"""One device that the account knows: nobody else's attempts close this door."""
SIGN_IN_ADDRESS = RateLimit("sign_in.address", 20, 10 * MINUTE_S)
SIGN_IN_ADDRESS_DAY = RateLimit("sign_in.address_day", 100, DAY_S)
SPRAYED_IDENTIFIER = RateLimit("sign_in.sprayed_identifier", 1, HOUR_S)
SPRAYED_ADDRESS = RateLimit("sign_in.sprayed_address", 10, HOUR_S)
"""How many different identifiers may fail from one address in an hour."""
SIGN_UP_ADDRESS = RateLimit("sign_up.address", 1_000, HOUR_S)
PIN = Backoff("pin", waits_s=(15 * MINUTE_S,))
SECOND_FACTOR = Backoff("second_factor")
REAUTHENTICATION = Backoff("reauthentication")
SECRET_BY_ADDRESS = RateLimit("secret.address", 100, HOUR_S)
"""Tokens and codes tried from one address."""
CHALLENGES_BY_ADDRESS = RateLimit("challenges.address", 300, HOUR_S)
CHALLENGE_TOKENS = RateLimit("challenge_tokens.address", 60, HOUR_S)
"""Answers to challenges from one address, each of which is asked of the service that knows."""
AUTHZ_FAILURE = RateLimit("authz_fail", 1, HOUR_S)
"""How often the audit log tells that somebody was turned away from a view for a reason."""
MAIL_TO_ADDRESS = RateLimit("mail.to", 5, HOUR_S)
"""Mails that anybody may have sent to one e-mail address."""
MAIL_FROM_ADDRESS = RateLimit("mail.from", 100, HOUR_S)


def source_network(address: str | None) -> str:
    """What counts as one source: an IPv4 address, or the /64 that an IPv6 customer is given."""
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return "unknown"
    if parsed.version == 4:
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False))
