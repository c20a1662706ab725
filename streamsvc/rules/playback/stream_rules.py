"""Streams: their lifetime, the reasons for which they end, device limits, and access errors.

The stream limit itself is one SQL statement, in operations/playback/streams.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from streamsvc.rules.playback.access import ViewerFacts
from streamsvc.rules.refusals import playback as errors
from streamsvc.rules.refusals.base import Refusal
from streamsvc.rules.refusals.requests import NotFound

HEARTBEAT_INTERVAL = timedelta(seconds=30)
STREAM_TTL = timedelta(seconds=90)
"""A stream expires after this time without a heartbeat: three intervals."""
DEVICE_RETENTION = timedelta(days=30)
"""A device that has not played for this long no longer counts towards the limit."""
REMOVAL_PERIOD = timedelta(days=30)
"""The period in which a plan limits how many removed devices free their places."""
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
"""Replaced by a new stream that named it in `replace`, or that exceeded the limit under `end_oldest`."""
TAKEN_OVER = "taken_over"
"""The same device started the same item again, or any item in another session."""
EXPIRED = "expired"
"""No heartbeat arrived in time."""
SIGNED_OUT = "signed_out"
"""Its session ended."""
INACTIVE = "inactive"
"""Nobody answered whether they are still watching."""
PROFILE_DELETED = "profile_deleted"
"""Its profile was deleted."""
PROFILE_MOVED = "profile_moved"
"""Its profile moved to another account."""
TITLE_REMOVED = "no_longer_available"
"""Its title was removed from the catalogue."""


def watched_seconds(state: str, seen_at: datetime, now: datetime) -> int:
    """Return the seconds actually played since the last heartbeat, which reported `state`."""
    return (
        int(min(max(now - seen_at, timedelta()), STREAM_TTL).total_seconds()) if state in ("starting", "playing") else 0
    )


class DevicePlace(NamedTuple):
    """A place that a device takes under the plan's device limits."""

    device_id: str
    kind: str | None


@dataclass(frozen=True)
class DeviceLimits:
    """How many devices the plan allows: in total, None for any number, and of the kinds that it limits.

    `removals`: how many removals of a device free its place at once within REMOVAL_PERIOD; None for any number.
    """

    total: int | None
    by_kind: Mapping[str, int] = field(default_factory=dict)
    removals: int | None = None


class LimitedDevices(NamedTuple):
    """A device limit, the kind of device that it is for, None for all, and the places that count towards it."""

    kind: str | None
    limit: int
    places: list[DevicePlace]

    @property
    def is_reached(self) -> bool:
        return len(self.places) >= self.limit


def device_limits_of(device: DevicePlace, places: Sequence[DevicePlace], limits: DeviceLimits) -> list[LimitedDevices]:
    """Return the limits that one more device has to keep, that of its kind first; none for a device with a place."""
    if any(place.device_id == device.device_id for place in places):
        return []
    applied = []
    if device.kind is not None and device.kind in limits.by_kind:
        same_kind = [place for place in places if place.kind == device.kind]
        applied.append(LimitedDevices(device.kind, limits.by_kind[device.kind], same_kind))
    return applied if limits.total is None else [*applied, LimitedDevices(None, limits.total, list(places))]


def devices_to_evict(applied: Sequence[LimitedDevices], evictable: Sequence[str] = ()) -> list[str] | None:
    """Return the devices to evict so that one more may play, the first of the `evictable` ones; usually none.

    None if the device exceeds one of the limits all the same.
    """
    evicted: list[str] = []
    for limited in applied:
        taken = [place.device_id for place in limited.places if place.device_id not in evicted]
        excess = max(0, len(taken) + 1 - limited.limit)
        candidates = [device_id for device_id in evictable if device_id in taken]
        if len(candidates) < excess:
            return None
        evicted += candidates[:excess]
    return evicted


def next_removal_at(freed_at: Sequence[datetime], removals: int | None, now: datetime) -> datetime:
    """Return from when on the removal of a device frees its place; `freed_at`: when earlier removals did, or will."""
    if removals is None or len(freed_at) < removals:
        return now
    return max(now, sorted(freed_at, reverse=True)[removals - 1] + REMOVAL_PERIOD)


def allowed_height(plan: int | None, requested: int | None) -> int | None:
    """Return the maximum picture height in lines: the lower of the plan's and the requested one; None: no limit."""
    return min((height for height in (plan, requested) if height is not None), default=None)


def access_refusal(code: str, viewer: ViewerFacts) -> Refusal:
    """Return the error for a code of rules/playback/access.py."""
    if code == errors.OutsideViewingHours.code:
        return errors.OutsideViewingHours(next_at=viewer.closed_until)
    return REFUSAL_BY_CODE[code]()


REFUSAL_BY_CODE = {
    kind.code: kind
    for kind in (
        NotFound,
        errors.ExtraMediaShared,
        errors.ProgrammeRestricted,
        errors.ProfileRequired,
        errors.OutsideViewingHours,
        errors.SubscriptionRequired,
        errors.NotInPlan,
        errors.CountryUnknown,
        errors.VpnNotAllowed,
        errors.NotAvailableInCountry,
        errors.NotYetAvailable,
        errors.NoLongerAvailable,
    )
}
