"""Purges expired single-use secrets."""

from datetime import datetime, timedelta

import sqlalchemy as sa

from streamsvc.models import DeviceCode, DeviceTrust, MailedToken, PendingFlow, PhoneVerification
from streamsvc.storage.database import db

RETENTION_PERIOD = timedelta(days=30)
MAX_TRUST_PERIOD = timedelta(days=90)


def purge_expired_tokens(now: datetime) -> None:
    """Delete flows, device codes and mailed tokens that expired a month ago, and device trusts older than 90 days.

    In the caller's transaction.
    """
    for model in (PendingFlow, DeviceCode, MailedToken, PhoneVerification):
        db.session.execute(sa.delete(model).where(model.expires_at < now - RETENTION_PERIOD))
    db.session.execute(sa.delete(DeviceTrust).where(DeviceTrust.given_at < now - MAX_TRUST_PERIOD))
