"""Single-use secrets that nobody used in time."""

from datetime import datetime, timedelta

import sqlalchemy as sa

from streamsvc.models import Ceremony, DeviceCode, DeviceTrust, Proof
from streamsvc.storage.database import db

KEPT = timedelta(days=30)
LONGEST_TRUST = timedelta(days=90)


def forget_expired(now: datetime) -> None:
    """Drop what ran out a month ago, in the caller's unit of work."""
    for kind in (Ceremony, DeviceCode, Proof):
        db.session.execute(sa.delete(kind).where(kind.expires_at < now - KEPT))
    db.session.execute(sa.delete(DeviceTrust).where(DeviceTrust.given_at < now - LONGEST_TRUST))
