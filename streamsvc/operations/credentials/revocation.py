"""What opens an account beside its password, and what is about to: taken away where it may be somebody else's."""

from datetime import datetime

import sqlalchemy as sa

from streamsvc.models import DeviceCode, Identity, MailedToken, Passkey, RecoveryCode, TotpFactor
from streamsvc.operations.credentials import trusted_devices
from streamsvc.operations.outbox import audit
from streamsvc.storage.database import db

PENDING_TOKEN_KINDS = ("password_reset", "magic_link", "sign_in_code", "reauthentication_code", "email_change")
"""Mailed secrets that whoever was in the account could have asked for. Not those that take something back."""


def cancel_pending_sign_ins(account_id: str, now: datetime) -> None:
    """Withdraw open mails and approved televisions that have not come in yet, and trust no device any more; in the
    caller's unit of work."""
    MailedToken.revoke_all(account_id, now, *PENDING_TOKEN_KINDS)
    deny_pending_device_codes(account_id)
    trusted_devices.revoke_device_trust(account_id)


def deny_pending_device_codes(account_id: str) -> None:
    """Whatever ends sessions ends those, too, that were approved and have not come in yet."""
    approved = (DeviceCode.account_id == account_id, DeviceCode.status == "approved")
    db.session.execute(sa.update(DeviceCode).where(*approved).values(status="denied"))


def revoke_passkeys_and_identities(account_id: str) -> None:
    """Forget passkeys and identities, in the caller's unit of work: the owner comes in by mail and links them anew."""
    gone = {}
    for way_in in (Passkey, Identity):
        theirs = sa.delete(way_in).where(way_in.account_id == account_id)
        gone[way_in.__tablename__] = db.session.execute(theirs).rowcount
    if any(gone.values()):
        audit.record_event("ways_in_removed", account_id, **gone)


def revoke_authenticator(account_id: str, since: datetime) -> None:
    """Forget an authenticator app that was put there since then; one that the owner had before stays."""
    new = sa.delete(TotpFactor).where(TotpFactor.account_id == account_id, TotpFactor.created_at >= since)
    if db.session.execute(new).rowcount:
        db.session.execute(sa.delete(RecoveryCode).where(RecoveryCode.account_id == account_id))
        trusted_devices.revoke_device_trust(account_id)
        audit.record_event("authn_factor_removed", account_id, factor="totp")
