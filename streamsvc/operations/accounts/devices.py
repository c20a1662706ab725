"""Removal of devices from an account: by their owner, or to make room for another device."""

from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

from streamsvc.models import Account, Device, DeviceTrust, Session, StreamDevice
from streamsvc.operations.credentials import sessions, trusted_devices
from streamsvc.operations.outbox import audit
from streamsvc.storage.database import db, lock_row


def remove_devices(
    account_id: str,
    device_ids: list[str],
    now: datetime,
    event: Literal["device_removed", "device_evicted"] = "device_removed",
    **details: Any,
) -> None:
    """Remove devices of the account, in the caller's transaction.

    Their sessions end, their places under the device limit become free, and the next sign-in on them counts as one on
    an unknown device. The account's lock keeps out concurrent sign-ins, which take it as well.
    """
    lock_row(Account, account_id)
    conditions = (Device.account_id == account_id, Device.id.in_(device_ids))
    db.session.execute(sa.update(Device).where(*conditions).values(removed_at=now))
    sessions.end_sessions(account_id, now, event, Session.device_id.in_(device_ids))
    stream_devices = (StreamDevice.account_id == account_id, StreamDevice.device_id.in_(device_ids))
    db.session.execute(sa.delete(StreamDevice).where(*stream_devices))
    trusted_devices.revoke_device_trust(account_id, DeviceTrust.device_id.in_(device_ids))
    for device_id in device_ids:
        audit.record_event(event, account_id, device=device_id, **details)
