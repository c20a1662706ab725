"""Purges expired single-use secrets."""

from datetime import datetime, timedelta

from streamsvc.models import DeviceCode, DeviceTrust, MailedToken, PendingFlow, PhoneVerification
from streamsvc.storage.chunked_writes import delete_in_chunks

RETENTION_PERIOD = timedelta(days=30)
MAX_TRUST_PERIOD = timedelta(days=90)


def purge_expired_tokens(now: datetime) -> None:
    """Delete flows, device codes and mailed tokens that expired a month ago, and device trusts older than 90 days.

    In chunks.
    """
    for column in (PendingFlow.expires_at, DeviceCode.expires_at, MailedToken.expires_at, PhoneVerification.expires_at):
        delete_in_chunks(column, column < now - RETENTION_PERIOD)
    delete_in_chunks(DeviceTrust.given_at, DeviceTrust.given_at < now - MAX_TRUST_PERIOD)
