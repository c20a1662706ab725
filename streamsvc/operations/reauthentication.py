"""Proving once more who one is, for what must not be done from an unlocked phone on a table."""

import sqlalchemy as sa

from streamsvc import clock, passwords, throttle
from streamsvc.database import db, one_row
from streamsvc.models import Account, Session
from streamsvc.operations import audit, second_factor
from streamsvc.rules import throttle as limits
from streamsvc.rules.refusals import InvalidCredentials, SecondFactorInvalid


def prove(account_id: str, given: dict) -> None:
    """By `password` or `totp`. Raises InvalidCredentials, SecondFactorInvalid, TooManyAttempts."""
    if "password" in given:
        prove_password(account_id, given["password"])
        return
    throttle.take(limits.REAUTHENTICATION, account_id)
    if not second_factor.use_totp(account_id, given["totp"], clock.now()):
        audit.record("reauthn_fail", account_id)
        db.session.commit()
        raise SecondFactorInvalid
    throttle.clear(limits.REAUTHENTICATION, account_id)


def prove_password(account_id: str, password: str) -> None:
    """Raises InvalidCredentials, TooManyAttempts."""
    throttle.take(limits.REAUTHENTICATION, account_id)
    kept = one_row(sa.select(Account.password_hash).where(Account.id == account_id))
    if not passwords.matches(kept.password_hash, password):
        audit.record("reauthn_fail", account_id)
        db.session.commit()
        raise InvalidCredentials(detail="The password is wrong.")
    throttle.clear(limits.REAUTHENTICATION, account_id)


def open_window(session_id: str, account_id: str) -> None:
    """For ten minutes from now the session may do what is sensitive; in the caller's unit of work."""
    now = clock.now()
    db.session.execute(sa.update(Session).where(Session.id == session_id).values(authenticated_at=now))
    audit.record("reauthn_success", account_id)
