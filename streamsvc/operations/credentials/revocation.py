"""Revokes an account's other credentials and cancels its pending sign-ins, after a takeover or a change of password."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from streamsvc.models import DeviceCode, Identity, MailedToken, Passkey, RecoveryCode, TotpFactor
from streamsvc.operations.credentials import trusted_devices
from streamsvc.operations.outbox import audit, security_events
from streamsvc.rules.security_events import Factor
from streamsvc.storage.database import db, execute_in_session

PENDING_TOKEN_KINDS = ("password_reset", "magic_link", "sign_in_code", "reauthentication_code", "email_change")
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


def revoke_passkeys_and_identities(account_id: str) -> None:
    """Delete passkeys and linked identities, in the caller's transaction. The owner signs in by mail and adds them
    again."""
    counts: dict[str, Any] = {}
    for model in (Passkey, Identity):
        provider = Identity.provider if model is Identity else sa.null()
        deleted = sa.delete(model).where(model.account_id == account_id).returning(model.id, provider)
        rows = db.session.execute(deleted.execution_options(synchronize_session=False)).all()
        for factor_id, provider_name in rows:
            factor: Factor = "provider" if provider_name else "passkey"
            security_events.publish_factor_removed(account_id, factor, factor_id, provider_name)
        counts[model.__tablename__] = len(rows)
    if any(counts.values()):
        audit.record_event("credentials_revoked", account_id, **counts)


def revoke_authenticator(account_id: str, since: datetime) -> None:
    """Delete an authenticator app that was added at or after `since`; an older one stays."""
    statement = sa.delete(TotpFactor).where(TotpFactor.account_id == account_id, TotpFactor.created_at >= since)
    if execute_in_session(statement):
        security_events.publish_factor_removed(account_id, "totp")
        delete_recovery_codes(account_id)
        trusted_devices.revoke_device_trust(account_id)
        audit.record_event("authn_factor_removed", account_id, factor="totp")


def delete_recovery_codes(account_id: str) -> None:
    """Delete the recovery codes together with the authenticator that they stand in for."""
    if execute_in_session(sa.delete(RecoveryCode).where(RecoveryCode.account_id == account_id)):
        security_events.publish_factor_removed(account_id, "recovery_codes")
