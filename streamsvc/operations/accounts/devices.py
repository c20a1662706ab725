"""Devices that leave an account: because their owner says so, or to make room for another."""

from datetime import datetime

import sqlalchemy as sa

from streamsvc.models import Account, Device, DeviceTrust, Session, StreamDevice
from streamsvc.operations.credentials import trusted_devices
from streamsvc.operations.outbox import audit
from streamsvc.storage.database import db, lock_row


def remove_devices(
    account_id: str, device_ids: list[str], now: datetime, event: str = "device_removed", **details
) -> None:
    """Forget devices of the account, in the caller's unit of work: their sessions end, their places are free, and the
    next sign-in on each is that of a stranger. Nobody signs in there meanwhile: that takes the account's lock as well.
    """
    lock_row(Account, account_id)
    theirs = (Device.account_id == account_id, Device.id.in_(device_ids))
    db.session.execute(sa.update(Device).where(*theirs).values(removed_at=now))
    Session.revoke_all(account_id, now, Session.device_id.in_(device_ids))
    places = (StreamDevice.account_id == account_id, StreamDevice.device_id.in_(device_ids))
    db.session.execute(sa.delete(StreamDevice).where(*places))
    trusted_devices.revoke_device_trust(account_id, DeviceTrust.device_id.in_(device_ids))
    for device_id in device_ids:
        audit.record_event(event, account_id, device=device_id, **details)
