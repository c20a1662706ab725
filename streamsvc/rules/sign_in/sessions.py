"""Sessions: lifetimes and tokens."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

SESSION_TOKEN_PREFIX = "sst_"
API_KEY_PREFIX = "sk_"
OPERATOR_TOKEN_PREFIX = "ops_"
DEVICE_TRUST_PREFIX = "sdt_"
REAUTHENTICATION_WINDOW = timedelta(minutes=10)
LAST_SEEN_GRAIN = timedelta(minutes=5)
LAST_SEEN_SHARE = 1 / 16
"""The share of the time after which a session expires unused: an older last use than that is always replaced."""


@dataclass(frozen=True)
class Lifetime:
    """How long a session lasts at most: in total, and while unused."""

    absolute: timedelta
    idle: timedelta

    def ends_at(self, created_at: datetime, last_seen_at: datetime) -> datetime:
        return min(created_at + self.absolute, last_seen_at + self.idle)


SESSION_LIFETIMES = {
    "tv": Lifetime(timedelta(days=365), timedelta(days=60)),
    "app": Lifetime(timedelta(days=365), timedelta(days=60)),
    "browser": Lifetime(timedelta(days=90), timedelta(days=14)),
    "visit": Lifetime(timedelta(days=1), timedelta(hours=2)),
    "guest": Lifetime(timedelta(days=365), timedelta(days=365)),
    "impersonation": Lifetime(timedelta(minutes=30), timedelta(minutes=30)),
}
GUEST_LIFETIME = "guest"
"""A guest's session also ends at the service's own idle time: see `guest_session_expires_at`."""
OPERATOR_LIFETIME = Lifetime(timedelta(hours=12), timedelta(minutes=30))
OPERATOR_SEEN_GRAIN = timedelta(minutes=1)


def session_lifetime_name(device_kind: str, remember: bool) -> str:
    """Return the key of SESSION_LIFETIMES: longest for televisions and apps, shortest for visits."""
    if not remember:
        return "visit"
    return {"tv": "tv", "console": "tv", "web": "browser"}.get(device_kind, "app")


def session_expires_at(lifetime: str, created_at: datetime, last_seen_at: datetime) -> datetime:
    """Return when the session expires. A session of an unknown lifetime has expired at once."""
    limits = SESSION_LIFETIMES.get(lifetime)
    return limits.ends_at(created_at, last_seen_at) if limits else created_at


def guest_session_expires_at(created_at: datetime, last_seen_at: datetime, idle: timedelta) -> datetime:
    """Return when a guest's session expires; `idle` is the service's setting."""
    return min(session_expires_at(GUEST_LIFETIME, created_at, last_seen_at), last_seen_at + idle)


def impersonation_view(operator: str | None, reason: str | None) -> dict[str, str | None] | None:
    """{operator, reason} of an impersonation session; None for the owner's own session."""
    return {"operator": operator, "reason": reason} if operator else None


def new_token(prefix: str = SESSION_TOKEN_PREFIX) -> str:
    """256 random bits, with a prefix that secret scanners recognize."""
    return prefix + secrets.token_urlsafe(32)


def hash_token(token: str) -> str:
    """Return the SHA-256 of a token, in hex: what is stored instead of it."""
    return hashlib.sha256(token.encode()).hexdigest()
