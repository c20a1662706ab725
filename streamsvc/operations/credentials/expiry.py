"""Single-use secrets that nobody used in time."""

from datetime import datetime, timedelta

import sqlalchemy as sa

from streamsvc.models import DeviceCode, DeviceTrust, MailedToken, PendingFlow
from streamsvc.storage.database import db

RETENTION_PERIOD = timedelta(days=30)
MAX_TRUST_PERIOD = timedelta(days=90)


def purge_expired_tokens(now: datetime) -> None:
    """Drop what ran out a month ago, in the caller's unit of work."""
    for kind in (PendingFlow, DeviceCode, MailedToken):
        db.session.execute(sa.delete(kind).where(kind.expires_at < now - RETENTION_PERIOD))
    db.session.execute(sa.delete(DeviceTrust).where(DeviceTrust.given_at < now - MAX_TRUST_PERIOD))
