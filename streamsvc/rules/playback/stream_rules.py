"""Streams: their lifetime, the reasons for which they end, device limits, and access errors.

The stream limit itself is one SQL statement, in operations/playback/streams.py.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from streamsvc.rules.refusals import playback as errors
from streamsvc.rules.refusals.base import Refusal
from streamsvc.rules.refusals.requests import NotFound

HEARTBEAT_INTERVAL = timedelta(seconds=30)
STREAM_TTL = timedelta(seconds=90)
"""A stream expires after this time without a heartbeat: three intervals."""
DEVICE_RETENTION = timedelta(days=30)
"""A device that has not played for this long no longer counts towards the limit."""
DEVICE_USE_PRECISION = timedelta(days=1)
"""The precision with which a device's last playback is recorded."""
STREAM_RETENTION = timedelta(days=400)
"""How long ended streams are kept for usage reports."""

STATES = ("starting", "playing", "paused", "buffering", "seeking", "stopped", "ended")
FINAL_STATES = ("stopped", "ended")
PLAYED_STATES = ("playing", "ended")
"""States that only a stream which has begun to play can have."""

STOPPED = "stopped"
"""Stopped by its own player."""
STOPPED_BY_VIEWER = "stopped_by_viewer"
"""Stopped from another device of the account."""
STOPPED_BY_OPERATOR = "stopped_by_operator"
REPLACED = "replaced"
"""Replaced by a new stream that named it in `replace`."""
TAKEN_OVER = "taken_over"
"""The same device started the same item again."""
EXPIRED = "expired"
"""No heartbeat arrived in time."""
SIGNED_OUT = "signed_out"
"""Its session ended."""
INACTIVE = "inactive"
"""Nobody answered whether they are still watching."""
PROFILE_DELETED = "profile_deleted"
"""Its profile was deleted."""
TITLE_REMOVED = "no_longer_available"
"""Its title was removed from the catalogue."""


def watched_seconds(state: str, seen_at: datetime, now: datetime) -> int:
    """Return the seconds actually played since the last heartbeat, which reported `state`."""
    return (
        int(min(max(now - seen_at, timedelta()), STREAM_TTL).total_seconds()) if state in ("starting", "playing") else 0
    )


def devices_to_evict(
    device_id: str, device_ids: list[str], max_devices: int | None, evictable: Sequence[str] = ()
) -> list[str] | None:
    """Return the devices to evict so that `device_id` may play, the first of the `evictable` ones; usually none.

    None if the device exceeds the limit all the same. `max_devices` is the plan's limit, None for any number.
    """
    excess = 0 if max_devices is None or device_id in device_ids else max(0, len(device_ids) + 1 - max_devices)
    return list(evictable[:excess]) if len(evictable) >= excess else None


def allowed_height(plan: int | None, requested: int | None) -> int | None:
    """Return the maximum picture height in lines: the lower of the plan's and the requested one; None: no limit."""
    return min((height for height in (plan, requested) if height is not None), default=None)


def access_refusal(code: str) -> Refusal:
    """Return the error for a code of rules/playback/access.py."""
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
