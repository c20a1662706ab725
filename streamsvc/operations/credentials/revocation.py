"""Cancels an account's pending sign-ins, after a takeover or a change of password."""

from datetime import datetime

import sqlalchemy as sa

from streamsvc.models import DeviceCode, MailedToken, RecoveryCode
from streamsvc.operations.credentials import trusted_devices
from streamsvc.operations.outbox import security_events
from streamsvc.storage.database import db, execute_in_session

PENDING_TOKEN_KINDS = (
    "password_reset",
    "magic_link",
    "sign_in_code",
    "reauthentication_code",
    "email_change",
    "profile_transfer",
)
"""Kinds of mailed tokens that an intruder could have requested. Those that undo a change are not among them."""


def cancel_pending_sign_ins(account_id: str, now: datetime) -> None:
    """Revoke open mailed tokens, approved device codes and the trust of all devices, in the caller's transaction."""
    MailedToken.revoke_all(account_id, now, *PENDING_TOKEN_KINDS)
    deny_pending_device_codes(account_id)
    trusted_devices.revoke_device_trust(account_id)


def deny_pending_device_codes(account_id: str) -> None:
    """Deny device codes that were approved but not redeemed yet. Call it wherever all sessions end."""
    is_approved = (DeviceCode.account_id == account_id, DeviceCode.status == "approved")
    db.session.execute(sa.update(DeviceCode).where(*is_approved).values(status="denied"))


def delete_recovery_codes(account_id: str) -> None:
    """Delete the recovery codes together with the authenticator that they stand in for."""
    if execute_in_session(sa.delete(RecoveryCode).where(RecoveryCode.account_id == account_id)):
        security_events.publish_factor_removed(account_id, "recovery_codes")
