"""Streams: how long one lives, why it ends, and what a refusal to play says."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from streamsvc.rules.refusals import playback as errors
from streamsvc.rules.refusals.base import Refusal
from streamsvc.rules.refusals.requests import NotFound

HEARTBEAT_INTERVAL = timedelta(seconds=30)
STREAM_TTL = timedelta(seconds=90)
"""A stream that has not been heard of for so long is over: three heartbeats."""
DEVICE_RETENTION = timedelta(days=30)
"""A device that has not played for so long gives its place to another."""
DEVICE_USE_PRECISION = timedelta(days=1)
"""How exactly it is noted when a device last played."""
STREAM_RETENTION = timedelta(days=400)
"""How long ended streams are kept for the reports of usage."""

STATES = ("starting", "playing", "paused", "buffering", "seeking", "stopped", "ended")
FINAL_STATES = ("stopped", "ended")

STOPPED = "stopped"
"""By its own player."""
STOPPED_BY_VIEWER = "stopped_by_viewer"
"""From another device of the account."""
STOPPED_BY_OPERATOR = "stopped_by_operator"
REPLACED = "replaced"
"""A new stream was to take its place."""
TAKEN_OVER = "taken_over"
"""The same device started the same item again."""
EXPIRED = "expired"
"""No heartbeat came in time."""
SIGNED_OUT = "signed_out"
"""Its session ended."""
TITLE_REMOVED = "no_longer_available"
"""What it plays was taken out of the catalogue."""


def watched_seconds(state: str, seen_at: datetime, now: datetime) -> int:
    """How many seconds really played since the last heartbeat, which told `state`."""
    return (
        int(min(max(now - seen_at, timedelta()), STREAM_TTL).total_seconds()) if state in ("starting", "playing") else 0
    )


def devices_to_evict(
    device_id: str, known: list[str], max_devices: int | None, evictable: Sequence[str] = ()
) -> list[str] | None:
    """Which of the `known` devices leave so that this one may play, of the `idle` ones the first; mostly none.

    None where it is one too many. `most`: what the plan allows; None: any number.
    """
    too_many = 0 if max_devices is None or device_id in known else max(0, len(known) + 1 - max_devices)
    return list(evictable[:too_many]) if len(evictable) >= too_many else None


def allowed_height(plan: int | None, requested: int | None) -> int | None:
    """The tallest picture, in lines: what the plan gives, and no more than was asked for; None: no limit."""
    return min((height for height in (plan, requested) if height is not None), default=None)


def access_refusal(code: str) -> Refusal:
    """The refusal that carries a code of rules/playback/access.py."""
    return REFUSAL_BY_CODE[code]()


REFUSAL_BY_CODE = {
    kind.code: kind
    for kind in (
        NotFound,
        errors.ProfileRequired,
        errors.SubscriptionRequired,
        errors.NotInPlan,
        errors.CountryUnknown,
        errors.NotAvailableInCountry,
        errors.NotYetAvailable,
        errors.NoLongerAvailable,
    )
}
