"""Outgoing webhooks according to the Standard Webhooks specification: signatures and retries."""

import base64
import hashlib
import hmac
from datetime import datetime, timedelta
from typing import Literal, get_args

SECRET_PREFIX = "whsec_"
EventKind = Literal[
    "account.deleted",
    "account.locked",
    "account.recovered",
    "email.changed",
    "factor.added",
    "factor.removed",
    "invoice.issued",
    "job.failed",
    "password.changed",
    "payment.failed",
    "payment.succeeded",
    "payout.failed",
    "payout.paid",
    "playback.completed",
    "playback.ended",
    "playback.started",
    "session.ended",
    "session.started",
    "sessions.revoked",
    "subscription.changed",
]
DeliveryStatus = Literal["pending", "delivered", "failed"]
EVENT_KINDS: tuple[EventKind, ...] = get_args(EventKind)
PLAYBACK_EVENTS: tuple[EventKind, ...] = ("playback.started", "playback.completed", "playback.ended")
"""Recorded only while an endpoint names them: without kinds, an endpoint gets all events but these."""
RETRY_DELAYS_S = (0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Delay before each attempt, from the one before; after the last one the delivery has failed."""
GONE, BUSY = 410, (429, 502, 504)
MAX_RETRY_AFTER = timedelta(days=1)
SECRET_ROTATION_PERIOD = timedelta(hours=24)


def is_subscribed(kinds: list[str] | None, kind: str) -> bool:
    """Whether an endpoint for these kinds, None for the default ones, gets the events of a kind."""
    return kind in kinds if kinds is not None else kind not in PLAYBACK_EVENTS


def sign_message(secrets: list[str], message_id: str, timestamp: int, body: bytes) -> str:
    """Sign with each secret; the signatures are space-separated, so that receivers can verify during a rotation."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return " ".join("v1," + _sign(secret, signed) for secret in secrets)


def _sign(secret: str, signed: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    return base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def next_attempt_at(attempts: int, now: datetime, retry_after_s: int | None = None) -> datetime | None:
    """Return the time of the next attempt after this many, or None after the last.

    `retry_after_s`: a longer delay requested by the receiver.
    """
    if attempts >= len(RETRY_DELAYS_S):
        return None
    retry_after = min(timedelta(seconds=retry_after_s or 0), MAX_RETRY_AFTER)
    return now + max(timedelta(seconds=RETRY_DELAYS_S[attempts]), retry_after)
