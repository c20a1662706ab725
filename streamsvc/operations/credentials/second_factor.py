"""The second factor: an authenticator app's code, a recovery code, or a mailed code if the password is a breached one.

Each code is accepted once: a guarded UPDATE consumes it, so that of concurrent requests only one succeeds.
"""

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from cryptography.fernet import InvalidToken

from streamsvc.models import Account, MailedToken, RecoveryCode, Session, TotpFactor
from streamsvc.operations.credentials import breached_passwords, revocation, trusted_devices
from streamsvc.operations.credentials.attempts import audit_lockout
from streamsvc.operations.credentials.factor_notices import enqueue_factor_added_mail
from streamsvc.operations.credentials.mail_limits import count_mail_request, is_token_mail_due
from streamsvc.operations.credentials.trusted_devices import AUTHENTICATOR_METHODS, TRUSTED_DEVICE
from streamsvc.operations.outbox import audit, mail, security_events
from streamsvc.rules import rate_limits as limits
from streamsvc.rules.refusals.accounts import SecondFactorInvalid, SecondFactorRequired, TotpActive, WrongCode
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.rules.request_facts import RequestFacts
from streamsvc.rules.sign_in.inputs import AuthenticatorCodes, PasswordSignInInput
from streamsvc.rules.sign_in.sessions import hash_token
from streamsvc.rules.sign_in.totp import (
    MAX_STEPS_AHEAD,
    find_matching_step,
    generate_recovery_codes,
    recovery_code_key,
    totp_uri,
)
from streamsvc.security import encryption, rate_limits
from streamsvc.storage.database import db, execute_write, fetch_one, lock_existing_row, lock_row

log = logging.getLogger("streamsvc.security")


def require_second_factor(
    verified: Any, body: PasswordSignInInput, trust_token: str | None, facts: RequestFacts, now: datetime
) -> str | None:
    """Require the second factor of an account whose password is verified (a VerifiedPassword).

    An account with an authenticator needs its code unless the device is trusted. Without one, a breached password needs
    a mailed code on unknown devices. Returns the method used, or None if no second factor is needed. Raises
    SecondFactorRequired, SecondFactorInvalid.
    """
    account = verified.account
    is_mailed_code_possible = not account.has_totp and not verified.is_known_device
    if is_mailed_code_possible and breached_passwords.is_breached_password(body["password"]):
        if not body.get("email_code"):
            _enqueue_sign_in_code(account, facts, now)
        return _require_code({"email_code": body.get("email_code")}, account, now)
    return require_authenticator_code(account, body, trust_token, now)


def require_authenticator_code(
    account: sa.Row, body: AuthenticatorCodes, trust_token: str | None, now: datetime
) -> str | None:
    """Require a code if the account has an authenticator and the device is not trusted.

    `trust_token`: the one that the device presents. Returns the method used, or None if no code is needed. Raises
    SecondFactorRequired, SecondFactorInvalid.
    """
    if not account.has_totp:
        return None
    codes: dict[str, str | None] = {method: body.get(method) for method in AUTHENTICATOR_METHODS}
    if not any(codes.values()) and trusted_devices.is_trusted_device(account, trust_token, now):
        return TRUSTED_DEVICE
    return _require_code(codes, account, now)


def _require_code(codes: Mapping[str, str | None], account: sa.Row, now: datetime) -> str:
    """Require one of the codes by method; return the method. Raises SecondFactorRequired, SecondFactorInvalid."""
    sent = {method: code for method, code in codes.items() if code}
    if not sent:
        raise SecondFactorRequired(methods=list(codes))
    subject = account.device_id or account.id
    count, _ = rate_limits.hit_all([(limits.SECOND_FACTOR, subject), (limits.SECOND_FACTOR_TOTAL, subject)])
    accepted = next((method for method, code in sent.items() if _consume_code(account.id, method, code, now)), None)
    if accepted is None:
        audit.record_event("authn_second_factor_fail", account.id, method=next(iter(sent)), actor="anonymous")
        audit_lockout(limits.SECOND_FACTOR, count, account.id, actor="anonymous")
        db.session.commit()
        raise SecondFactorInvalid
    with rate_limits.counter_transaction() as counters:
        counters.clear(limits.SECOND_FACTOR, subject)
        counters.refund(limits.SECOND_FACTOR_TOTAL, subject)
    return accepted


def _consume_code(account_id: str, method: str, code: str, now: datetime) -> bool:
    if method == "totp":
        return consume_totp(account_id, code, now) is not None
    code_hash = hash_token(recovery_code_key(account_id, code))
    if method == "recovery_code":
        is_unused = (
            RecoveryCode.code_hash == code_hash,
            RecoveryCode.account_id == account_id,
            RecoveryCode.used_at.is_(None),
        )
        return execute_write(sa.update(RecoveryCode).where(*is_unused).values(used_at=now)) == 1
    is_consumed = MailedToken.consume("sign_in_code", hash_token(f"{account_id}:{code}"), now) is not None
    db.session.commit()
    return is_consumed


def consume_totp(account_id: str, code: str, now: datetime, confirmed: bool = True) -> str | None:
    """Consume a code of the account's authenticator; None if the code is wrong or was used before.

    Returns the encrypted secret that the code was made with. `confirmed`: whether the authenticator must be confirmed
    already, or must not be.
    """
    factor = fetch_one(sa.select(*TotpFactor.__table__.c).where(TotpFactor.account_id == account_id))
    if factor is None or (factor.confirmed_at is None) == confirmed:
        return None
    step = find_totp_step(factor.secret_encrypted, code, now)
    if step is None:
        return None
    is_unused = (
        TotpFactor.account_id == account_id,
        sa.or_(TotpFactor.last_step < step, TotpFactor.last_step > step + MAX_STEPS_AHEAD),
        TotpFactor.secret_encrypted == factor.secret_encrypted,
    )
    is_consumed = execute_write(sa.update(TotpFactor).where(*is_unused).values(last_step=step)) == 1
    return factor.secret_encrypted if is_consumed else None


def find_totp_step(secret_encrypted: str, code: str, now: datetime) -> int | None:
    """Find the time step that the code belongs to; None if there is none or the secret cannot be decrypted."""
    try:
        return find_matching_step(encryption.decrypt(secret_encrypted), code, now)
    except InvalidToken:
        log.error("an authenticator's secret cannot be decrypted with any configured key; its codes are rejected")
        return None


def _enqueue_sign_in_code(account: sa.Row, facts: RequestFacts, now: datetime) -> None:
    """Mail a sign-in code, within the mail limits. Commits."""
    if is_token_mail_due("sign_in_code", account.id, count_mail_request(f"sign_in_code {account.id}", facts), now):
        mail.enqueue_token_mail("sign_in_code", account.email, account.id, now)
        audit.record_event("authn_step_up_asked", account.id, actor="anonymous")
    db.session.commit()


def start_totp_enrollment(account_id: str, session_id: str, email: str, secret: str, now: datetime) -> dict:
    """Add an authenticator that has no effect until a code confirms it: {secret, otpauth_uri}. Raises TotpActive.

    One that was begun before is replaced: it is a new one then, of this session.
    """
    lock_row(Account, account_id)
    factor = db.session.get(TotpFactor, account_id)
    if factor and factor.confirmed_at:
        raise TotpActive
    if factor is None:
        factor = TotpFactor(account_id=account_id)
        db.session.add(factor)
    factor.created_at, factor.added_by_session_id = now, session_id
    factor.secret_encrypted = encryption.encrypt(secret)
    return {"secret": secret, "otpauth_uri": totp_uri(secret, email)}


def complete_totp_enrollment(account_id: str, session_id: str, code: str, now: datetime) -> list[str]:
    """Activate the authenticator with its first code, and return the recovery codes.

    Raises WrongCode, also if the session that began it was ended since.
    """
    rate_limits.hit(limits.SECOND_FACTOR, account_id)
    secret_encrypted = consume_totp(account_id, code, now, confirmed=False)
    if secret_encrypted is None:
        raise WrongCode("code")
    rate_limits.clear(limits.SECOND_FACTOR, account_id)
    account, factor = lock_existing_row(Account, account_id), db.session.get(TotpFactor, account_id)
    if factor is None or factor.confirmed_at or factor.secret_encrypted != secret_encrypted:  # restarted concurrently
        raise WrongCode("code")
    if Session.is_ended(factor.added_by_session_id):
        raise WrongCode("code")
    factor.confirmed_at = now
    codes = replace_recovery_codes(account_id, session_id, now)
    audit.record_event("authn_factor_added", account_id, factor="totp")
    security_events.publish_factor_added(account_id, "totp")
    enqueue_factor_added_mail(account.email, account_id, session_id, "An authenticator app", now)
    return codes


def replace_recovery_codes(account_id: str, session_id: str, now: datetime) -> list[str]:
    """Replace the recovery codes by ten new ones, and revoke the trust of all devices."""
    trusted_devices.revoke_device_trust(account_id)
    db.session.execute(sa.delete(RecoveryCode).where(RecoveryCode.account_id == account_id))
    codes = generate_recovery_codes()
    hashes = [hash_token(recovery_code_key(account_id, code)) for code in codes]
    added = {"account_id": account_id, "added_by_session_id": session_id, "created_at": now}
    db.session.add_all([RecoveryCode(code_hash=code_hash, **added) for code_hash in hashes])
    audit.record_event("recovery_codes_made", account_id)
    security_events.publish_factor_added(account_id, "recovery_codes")
    return codes


def renew_recovery_codes(account_id: str, session_id: str, email: str, now: datetime) -> list[str]:
    """Replace the recovery codes and notify the owner by mail, since each of them replaces the authenticator."""
    enqueue_factor_added_mail(email, account_id, session_id, "A new set of recovery codes", now)
    return replace_recovery_codes(account_id, session_id, now)


def delete_totp(account_id: str, now: datetime) -> None:
    """Remove the authenticator and its recovery codes. Raises NotFound."""
    factor = db.session.get(TotpFactor, account_id)
    if factor is None:
        raise NotFound
    db.session.delete(factor)
    trusted_devices.revoke_device_trust(account_id)
    audit.record_event("authn_factor_removed", account_id, factor="totp")
    security_events.publish_factor_removed(account_id, "totp")
    revocation.delete_recovery_codes(account_id)
    mail.enqueue_mail(
        "factor_removed", db.session.get_one(Account, account_id).email, now, factor="The authenticator app"
    )


def totp_view(account_id: str) -> dict:
    """{active, since, recovery_codes_left} of the account's authenticator."""
    since = db.session.scalar(sa.select(TotpFactor.confirmed_at).where(TotpFactor.account_id == account_id))
    left = sa.select(sa.func.count()).where(RecoveryCode.account_id == account_id, RecoveryCode.used_at.is_(None))
    return {"active": since is not None, "since": since, "recovery_codes_left": db.session.scalar(left)}
