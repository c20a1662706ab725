"""Devices on which a second factor was given and which their owner trusts: for a while they show a secret instead.

The secret is what counts, not the device's id. It stands for the second proof of a sign-in alone: a session that
begins with it has proved who somebody is when the code was given, and opens no window for what is sensitive.
"""

from datetime import datetime, timedelta

import sqlalchemy as sa
from flask import current_app

from streamsvc.http import idempotency
from streamsvc.models import DeviceTrust, Session, TotpFactor
from streamsvc.operations.outbox import audit
from streamsvc.rules.refusals.accounts import SecondFactorRequired
from streamsvc.rules.sign_in.sessions import DEVICE_TRUST_PREFIX, hash_token
from streamsvc.security.authentication import current_operator
from streamsvc.storage.database import db, fetch_one, lock_row

TRUSTED_DEVICE = "trusted_device"
AUTHENTICATOR_METHODS = ("totp", "recovery_code")


def trust_period() -> timedelta:
    """How long a device stays trusted; a change of the setting counts at once."""
    return timedelta(days=current_app.extensions["settings"].trusted_device_days)


def _validity_conditions(now: datetime) -> tuple:
    epoch = current_app.extensions["settings"].session_epoch
    return (DeviceTrust.given_at > now - trust_period(), DeviceTrust.epoch >= epoch)


def is_trusted_device(account: sa.Row, token: str | None, now: datetime) -> bool:
    """Whether `shown` is the secret of the known device on which `account` signs in."""
    if not token or account.device_id is None:
        return False
    its = (DeviceTrust.device_id == account.device_id, DeviceTrust.account_id == account.id)
    its += (DeviceTrust.token_hash == hash_token(token), DeviceTrust.given_at >= TotpFactor.confirmed_at)
    factor = TotpFactor.account_id == DeviceTrust.account_id
    return (
        fetch_one(sa.select(DeviceTrust.given_at).join(TotpFactor, factor).where(*its, *_validity_conditions(now)))
        is not None
    )


def lock_second_factor_time(device_id: str) -> datetime:
    """When the second factor was last given on this device, which nobody distrusts before the caller's unit of work
    is over. Raises SecondFactorRequired where somebody just did."""
    trust = lock_row(DeviceTrust, device_id)
    if trust is None:
        raise SecondFactorRequired(methods=list(AUTHENTICATOR_METHODS))
    return trust.given_at


def trust_device_if_requested(
    session: Session, requested: bool, second_factor: str | None, now: datetime
) -> dict | None:
    """{token, until} of the device on which `second` was given just now, in the caller's unit of work; else None."""
    if not (requested and second_factor in AUTHENTICATOR_METHODS and trust_period()):
        return None
    token = DEVICE_TRUST_PREFIX + idempotency.generate_secret(idempotency.TRUST_TOKEN)
    trust = db.session.get(DeviceTrust, session.device_id)
    if trust is None:
        trust = DeviceTrust(device_id=session.device_id, account_id=session.account_id)
        db.session.add(trust)
    trust.token_hash, trust.epoch, trust.given_at = hash_token(token), session.epoch, now
    audit.record_event("device_trusted", session.account_id, device=session.device_id)
    return {"token": token, "until": now + trust_period()}


def list_trust_expirations(device_ids: list[str], now: datetime) -> dict[str, datetime]:
    """{device: until when it is trusted}, of those that are."""
    found = sa.select(DeviceTrust.device_id, DeviceTrust.given_at)
    found = found.where(DeviceTrust.device_id.in_(device_ids), *_validity_conditions(now))
    return {device_id: given_at + trust_period() for device_id, given_at in db.session.execute(found)}


def revoke_device_trust(account_id: str, *conditions) -> None:
    """The account's devices (those that meet the conditions) ask for the second factor again; in the caller's unit of
    work."""
    theirs = sa.delete(DeviceTrust).where(DeviceTrust.account_id == account_id, *conditions)
    gone = list(db.session.scalars(theirs.returning(DeviceTrust.device_id)))
    if gone:
        operator = current_operator()
        audit.record_event("device_trust_ended", account_id, actor=operator and operator.id, devices=gone)


def revoke_session_device_trust(account_id: str, session_id: str) -> None:
    """The same for the device of one session."""
    revoke_device_trust(
        account_id, DeviceTrust.device_id.in_(sa.select(Session.device_id).where(Session.id == session_id))
    )
