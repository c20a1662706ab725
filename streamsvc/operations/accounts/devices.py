"""Removal of devices from an account: by their owner, or to make room for another device."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

from streamsvc.models import Account, Device, DeviceTrust, FreedDevicePlace, Session, StreamDevice
from streamsvc.operations.credentials import sessions, trusted_devices
from streamsvc.operations.outbox import audit
from streamsvc.rules.playback.stream_rules import DEVICE_RETENTION, REMOVAL_PERIOD, next_removal_at
from streamsvc.storage.chunked_writes import delete_in_chunks
from streamsvc.storage.database import db, fetch_all, lock_row

REMOVED_PLACES = sa.select(FreedDevicePlace.device_id, FreedDevicePlace.kind, FreedDevicePlace.freed_at).where(
    FreedDevicePlace.account_id == sa.bindparam("account_id")
)


def remove_devices(
    account_id: str,
    device_ids: list[str],
    now: datetime,
    event: Literal["device_removed", "device_evicted"] = "device_removed",
    removals: int | None = None,
    **details: Any,
) -> None:
    """Remove devices of the account, in the caller's transaction.

    Their sessions end, and the next sign-in on them counts as one on an unknown device. Their places under the device
    limit become free: at once, or later if the plan's `removals` are used up. The account's lock keeps out concurrent
    sign-ins, which take it as well.
    """
    lock_row(Account, account_id)
    _free_places(account_id, device_ids, removals, now)
    conditions = (Device.account_id == account_id, Device.id.in_(device_ids))
    db.session.execute(sa.update(Device).where(*conditions).values(removed_at=now))
    sessions.end_sessions(account_id, now, event, Session.device_id.in_(device_ids))
    stream_devices = (StreamDevice.account_id == account_id, StreamDevice.device_id.in_(device_ids))
    db.session.execute(sa.delete(StreamDevice).where(*stream_devices))
    trusted_devices.revoke_device_trust(account_id, DeviceTrust.device_id.in_(device_ids))
    for device_id in device_ids:
        audit.record_event(event, account_id, device=device_id, **details)


def _free_places(account_id: str, device_ids: list[str], removals: int | None, now: datetime) -> None:
    """Record when the places of these devices become free, of those that have one."""
    kinds = db.session.execute(
        sa.select(StreamDevice.device_id, Device.kind)
        .join(Device, Device.id == StreamDevice.device_id)
        .where(
            StreamDevice.account_id == account_id,
            StreamDevice.device_id.in_(device_ids),
            StreamDevice.last_played_at > now - DEVICE_RETENTION,
        )
    )
    freed_at = [row.freed_at for row in db.session.execute(REMOVED_PLACES, {"account_id": account_id})]
    for device_id, kind in kinds.all():
        freed_at.append(next_removal_at(freed_at, removals, now))
        db.session.add(FreedDevicePlace(account_id=account_id, device_id=device_id, kind=kind, freed_at=freed_at[-1]))
    db.session.flush()


def list_removed_places(account_id: str) -> Sequence[sa.Row]:
    """Return the {device_id, kind, freed_at} of places of removed devices that are not free yet, or lately became."""
    return fetch_all(REMOVED_PLACES, {"account_id": account_id})


def purge_freed_places(now: datetime) -> None:
    """Delete places that became free so long ago that no limit counts their removal."""
    delete_in_chunks(FreedDevicePlace.freed_at, FreedDevicePlace.freed_at < now - REMOVAL_PERIOD)
