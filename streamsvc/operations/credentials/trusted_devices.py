"""Trusted devices: after a second factor was given on one, it presents a token instead of a code for a limited time.

The token is what counts, not the device's id. It replaces the second factor of a sign-in only: the session counts as
authenticated at the time when the code was given, so it does not open the window for sensitive calls.
"""

from datetime import datetime, timedelta
from typing import Literal

import sqlalchemy as sa

from streamsvc.http import idempotency
from streamsvc.models import DeviceTrust, Session, TotpFactor
from streamsvc.models.sessions import CURRENT_SERVICE_EPOCH
from streamsvc.operations.outbox import audit
from streamsvc.rules.refusals.accounts import SecondFactorRequired
from streamsvc.rules.sign_in.sessions import DEVICE_TRUST_PREFIX, hash_token
from streamsvc.security.audit_context import get_audit_actor
from streamsvc.settings import current_settings
from streamsvc.storage.database import db, fetch_one, lock_row

TRUSTED_DEVICE = "trusted_device"
AUTHENTICATOR_METHODS: tuple[Literal["totp", "recovery_code"], ...] = ("totp", "recovery_code")


def trust_period() -> timedelta:
    """Return how long a device stays trusted. A change of the setting takes effect at once."""
    return timedelta(days=current_settings().trusted_device_days)


def _validity_conditions(now: datetime) -> tuple:
    epoch = current_settings().session_epoch
    return (
        DeviceTrust.given_at > now - trust_period(),
        DeviceTrust.epoch >= epoch,
        DeviceTrust.service_epoch >= CURRENT_SERVICE_EPOCH,
    )


def is_trusted_device(account: sa.Row, token: str | None, now: datetime) -> bool:
    """Whether `token` is the trust token of the known device on which `account` signs in.

    `account` is a row of `ACCOUNT_QUERY` in operations/sign_in/password.py.
    """
    if not token or account.device_id is None:
        return False
    conditions = (
        DeviceTrust.device_id == account.device_id,
        DeviceTrust.account_id == account.id,
        DeviceTrust.token_hash == hash_token(token),
        DeviceTrust.given_at >= TotpFactor.confirmed_at,
        *_validity_conditions(now),
    )
    trusts = sa.select(DeviceTrust.given_at).join(TotpFactor, TotpFactor.account_id == DeviceTrust.account_id)
    return fetch_one(trusts.where(*conditions)) is not None


def lock_second_factor_time(device_id: str) -> datetime:
    """Lock the device's trust and return when the second factor was last given on it.

    Raises SecondFactorRequired if the trust has just been revoked.
    """
    trust = lock_row(DeviceTrust, device_id)
    if trust is None:
        raise SecondFactorRequired(methods=list(AUTHENTICATOR_METHODS))
    return trust.given_at


def trust_device_if_requested(
    session: Session, requested: bool, second_factor: str | None, now: datetime
) -> dict | None:
    """Trust the session's device if `second_factor` was just given on it, in the caller's transaction.

    Returns {token, until}, or None if the device is not trusted.
    """
    if not (requested and second_factor in AUTHENTICATOR_METHODS and trust_period()):
        return None
    token = DEVICE_TRUST_PREFIX + idempotency.generate_secret(idempotency.TRUST_TOKEN)
    trust = db.session.get(DeviceTrust, session.device_id)
    if trust is None:
        trust = DeviceTrust(device_id=session.device_id, account_id=session.account_id)
        db.session.add(trust)
    trust.token_hash, trust.epoch, trust.given_at = hash_token(token), session.epoch, now
    trust.service_epoch = session.service_epoch
    audit.record_event("device_trusted", session.account_id, device=session.device_id)
    return {"token": token, "until": now + trust_period()}


def list_trust_expirations(device_ids: list[str], now: datetime) -> dict[str, datetime]:
    """Device id -> when its trust expires, for those of the devices that are trusted."""
    trusts = sa.select(DeviceTrust.device_id, DeviceTrust.given_at).where(
        DeviceTrust.device_id.in_(device_ids), *_validity_conditions(now)
    )
    return {device_id: given_at + trust_period() for device_id, given_at in db.session.execute(trusts)}


def revoke_device_trust(account_id: str, *conditions: sa.ColumnElement[bool]) -> None:
    """Require the second factor again on the account's devices that meet the conditions.

    In the caller's transaction.
    """
    trusts = sa.delete(DeviceTrust).where(DeviceTrust.account_id == account_id, *conditions)
    device_ids = list(db.session.scalars(trusts.returning(DeviceTrust.device_id)))
    if device_ids:
        audit.record_event("device_trust_ended", account_id, actor=get_audit_actor(), devices=device_ids)


def revoke_session_device_trust(account_id: str, session_id: str) -> None:
    """Require the second factor again on the device of one session, in the caller's transaction."""
    device_ids = sa.select(Session.device_id).where(Session.id == session_id)
    revoke_device_trust(account_id, DeviceTrust.device_id.in_(device_ids))
