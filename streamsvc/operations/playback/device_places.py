"""The places that devices take under a plan's device limits: in total, and for each kind of device that it limits.

A device takes a place when it first plays. It keeps it until it has not played for a month, or until it is removed and
its place becomes free: see operations/accounts/devices.py.
"""

from collections.abc import Set
from datetime import datetime

import sqlalchemy as sa

from streamsvc.models import Device, Session, StreamDevice
from streamsvc.operations.accounts import devices
from streamsvc.rules.playback import stream_rules
from streamsvc.rules.playback.stream_rules import DeviceLimits, DevicePlace, LimitedDevices
from streamsvc.rules.refusals.access import NotSignedIn
from streamsvc.rules.refusals.playback import DeviceLimit
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.storage.database import UtcTime, db, fetch_all, fetch_one, insert

STREAM_DEVICES = (
    sa.select(
        StreamDevice.device_id, StreamDevice.first_played_at, StreamDevice.last_played_at, Device.name, Device.kind
    )
    .outerjoin(Device, sa.and_(Device.id == StreamDevice.device_id, Device.account_id == StreamDevice.account_id))
    .where(
        StreamDevice.account_id == sa.bindparam("account_id"),
        StreamDevice.last_played_at > sa.bindparam("since", type_=UtcTime),
        Device.removed_at.is_(None),
    )
    .order_by(StreamDevice.first_played_at, StreamDevice.device_id)
)


def list_stream_devices(account_id: str, now: datetime) -> list[sa.Row]:
    """Return the devices that count towards the account's limit, oldest first."""
    return fetch_all(STREAM_DEVICES, {"account_id": account_id, "since": now - stream_rules.DEVICE_RETENTION})


def list_applied_limits(
    account_id: str, device_id: str, known_devices: list[sa.Row], limits: DeviceLimits, now: datetime
) -> list[LimitedDevices]:
    """Return the limits that a device which is to play has to keep; none if it has a place."""
    own = fetch_one(sa.select(Device.kind).where(Device.id == device_id, Device.account_id == account_id))
    removed = devices.list_removed_places(account_id)
    places = [DevicePlace(device.device_id, device.kind) for device in known_devices]
    places += [DevicePlace(place.device_id, place.kind) for place in removed if place.freed_at > now]
    return stream_rules.device_limits_of(DevicePlace(device_id, own.kind if own else None), places, limits)


def admit_device(
    account_id: str,
    session_id: str,
    device_id: str,
    limits: DeviceLimits,
    evicts_devices: bool,
    busy: Set[str],
    now: datetime,
) -> None:
    """Record that the device plays, in the caller's transaction, evicting others than the `busy` ones if allowed.

    Raises DeviceLimit if it exceeds a limit; NotSignedIn or NotFound if its session or itself was just removed.
    """
    since = now - stream_rules.DEVICE_RETENTION
    known_devices = list(db.session.execute(STREAM_DEVICES, {"account_id": account_id, "since": since}))
    applied = list_applied_limits(account_id, device_id, known_devices, limits, now)
    evicted = stream_rules.devices_to_evict(applied)
    if evicted is None and evicts_devices:
        evictable = _list_evictable_devices(account_id, session_id, device_id, known_devices, busy)
        evicted = stream_rules.devices_to_evict(applied, evictable)
        if evicted and not can_free_places(account_id, len(evicted), limits, now):
            evicted = None
    if evicted is None:
        raise _device_limit(account_id, known_devices, applied, limits, now)
    if evicted:
        devices.remove_devices(account_id, evicted, now, "device_evicted", limits.removals, by=device_id)
    row = {"account_id": account_id, "device_id": device_id, "first_played_at": now, "last_played_at": now}
    db.session.execute(
        insert(StreamDevice)
        .values(row)
        .on_conflict_do_update(index_elements=["account_id", "device_id"], set_={"last_played_at": now})
    )


def can_free_places(account_id: str, count: int, limits: DeviceLimits, now: datetime) -> bool:
    """Whether the plan's removals suffice to give the places of so many devices to others now."""
    freed_at = [place.freed_at for place in devices.list_removed_places(account_id)]
    return stream_rules.next_removal_at([*freed_at, *[now] * (count - 1)], limits.removals, now) <= now


def _device_limit(
    account_id: str, known_devices: list[sa.Row], applied: list[LimitedDevices], limits: DeviceLimits, now: datetime
) -> DeviceLimit:
    """Return the error for the first limit that is reached, with the devices that could be removed."""
    reached = next(limited for limited in applied if limited.is_reached)
    freed_at = [place.freed_at for place in devices.list_removed_places(account_id)]
    next_removal_at = stream_rules.next_removal_at(freed_at, limits.removals, now)
    counted = {place.device_id for place in reached.places}
    return DeviceLimit(
        limit=reached.limit,
        kind=reached.kind,
        devices=[stream_device_view(device) for device in known_devices if device.device_id in counted],
        next_removal_at=next_removal_at if next_removal_at > now else None,
    )


def _list_evictable_devices(
    account_id: str, session_id: str, device_id: str, known_devices: list[sa.Row], busy: Set[str]
) -> list[str]:
    """Return the ids of devices on which nothing plays, least recently used first, except the requesting one.

    Raises NotSignedIn or NotFound if an earlier claim removed this one's session or device.
    """
    last_seen = sa.select(Session.device_id, sa.func.max(Session.last_seen_at, type_=UtcTime))
    last_seen = last_seen.where(Session.account_id == account_id).group_by(Session.device_id)
    last_seen_by_device = dict(db.session.execute(last_seen).all())
    own_session = Session.id == session_id, Session.ended_at.is_(None)
    requesting_device_id = db.session.scalar(sa.select(Session.device_id).where(*own_session))
    if requesting_device_id is None:
        raise NotSignedIn(presented=True)
    if Device.find_owned(account_id, device_id) is None:
        raise NotFound(detail="There is no such device on your account.")
    excepted = {requesting_device_id, *busy}
    evictable = [device for device in known_devices if device.device_id not in excepted]
    evictable.sort(
        key=lambda device: max(device.last_played_at, last_seen_by_device.get(device.device_id, device.last_played_at))
    )
    return [device.device_id for device in evictable]


def stream_device_view(device: sa.Row) -> dict:
    """Return a device as the `device_limit` error lists it."""
    return {
        "id": device.device_id,
        "name": device.name,
        "kind": device.kind,
        "first_played_at": device.first_played_at,
        "last_played_at": device.last_played_at,
    }
