"""The second proof: an authenticator's code, a recovery code, or a code by mail where the password is a known one.

Each code counts once: a guarded UPDATE uses it up, whoever else sends it at the same moment.
"""

import logging
from datetime import datetime

import sqlalchemy as sa
from cryptography.fernet import InvalidToken

from streamsvc.models import Account, MailedToken, RecoveryCode, TotpFactor
from streamsvc.operations.credentials import breached_passwords, trusted_devices
from streamsvc.operations.credentials.attempts import audit_lockout, is_mail_allowed
from streamsvc.operations.credentials.trusted_devices import AUTHENTICATOR_METHODS, TRUSTED_DEVICE
from streamsvc.operations.outbox import audit, mail
from streamsvc.rules import rate_limits as limits
from streamsvc.rules.refusals.accounts import SecondFactorInvalid, SecondFactorRequired, TotpActive, WrongCode
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.rules.sign_in.sessions import hash_token
from streamsvc.rules.sign_in.totp import find_matching_step, generate_recovery_codes, recovery_code_key, totp_uri
from streamsvc.security import encryption, rate_limits
from streamsvc.storage.database import db, execute_write, fetch_one, lock_row

MAIL_METHODS = ("email_code",)
log = logging.getLogger("streamsvc.security")


def require_second_factor(verified, body: dict, now: datetime) -> str | None:
    """After a right password: whatever else this account asks for; what proved it, or None where nothing is asked for.
    Raises SecondFactorRequired, SecondFactorInvalid.

    An account with an authenticator asks for it everywhere; a password that attackers know asks for a mailed code on a
    device that the account does not know.
    """
    account = verified.account
    if (
        not account.has_totp
        and not verified.is_known_device
        and breached_passwords.is_breached_password(body["password"])
    ):
        return _require_code(MAIL_METHODS, account, body, now)
    return require_authenticator_code(account, body, now)


def require_authenticator_code(account: sa.Row, body: dict, now: datetime) -> str | None:
    """Ask for the authenticator's code where the account has one and does not trust the device; what proved it.
    Raises as `check` does."""
    if not account.has_totp:
        return None
    told = any(body.get(name) for name in AUTHENTICATOR_METHODS)
    if not told and trusted_devices.is_trusted_device(account, body.get("device_trust"), now):
        return TRUSTED_DEVICE
    return _require_code(AUTHENTICATOR_METHODS, account, body, now)


def _require_code(methods: tuple[str, ...], account: sa.Row, body: dict, now: datetime) -> str:
    sent = [name for name in methods if body.get(name)]
    if not sent:
        if methods == MAIL_METHODS:
            _enqueue_sign_in_code(account, now)
        raise SecondFactorRequired(methods=list(methods))
    count = rate_limits.hit(limits.SECOND_FACTOR, account.device_id or account.id)
    proved_by = next((name for name in sent if _consume_code(account.id, name, body[name], now)), None)
    if proved_by is None:
        audit.record_event("authn_second_factor_fail", account.id, method=sent[0], actor="anonymous")
        audit_lockout(limits.SECOND_FACTOR, count, account.id, actor="anonymous")
        db.session.commit()
        raise SecondFactorInvalid
    rate_limits.clear(limits.SECOND_FACTOR, account.device_id or account.id)
    return proved_by


def _consume_code(account_id: str, method: str, code: str, now: datetime) -> bool:
    if method == "totp":
        return consume_totp(account_id, code, now) is not None
    key = hash_token(recovery_code_key(account_id, code))
    if method == "recovery_code":
        unused = (RecoveryCode.code_hash == key, RecoveryCode.account_id == account_id, RecoveryCode.used_at.is_(None))
        return execute_write(sa.update(RecoveryCode).where(*unused).values(used_at=now)) == 1
    used = MailedToken.consume("sign_in_code", hash_token(f"{account_id}:{code}"), now) is not None
    db.session.commit()
    return used


def consume_totp(account_id: str, code: str, now: datetime, confirmed: bool = True) -> str | None:
    """The sealed secret of the account's authenticator where this is a code of it that was not used yet; uses it up."""
    found = fetch_one(sa.select(*TotpFactor.__table__.c).where(TotpFactor.account_id == account_id))
    if found is None or (found.confirmed_at is None) == confirmed:
        return None
    step = find_totp_step(found.secret_encrypted, code, now)
    if step is None:
        return None
    unused = (TotpFactor.account_id == account_id, TotpFactor.last_step < step)
    unused += (TotpFactor.secret_encrypted == found.secret_encrypted,)
    used = execute_write(sa.update(TotpFactor).where(*unused).values(last_step=step)) == 1
    return found.secret_encrypted if used else None


def find_totp_step(secret_encrypted: str, code: str, now: datetime) -> int | None:
    """The step whose code this is; None for none, also where the key that sealed the secret is gone."""
    try:
        return find_matching_step(encryption.decrypt(secret_encrypted), code, now)
    except InvalidToken:
        log.error("no key of the settings opens an authenticator's secret: its codes prove nothing")
        return None


def _enqueue_sign_in_code(account, now: datetime) -> None:
    """One statement's worth of mail for each try, and not many."""
    if is_mail_allowed(limits.MAIL_TO_ADDRESS, f"sign_in_code {account.id}"):
        mail.enqueue_token_mail("sign_in_code", account.email, account.id, now)
        audit.record_event("authn_step_up_asked", account.id, actor="anonymous")
        db.session.commit()


def start_totp_enrollment(account_id: str, email: str, secret: str, now: datetime) -> dict:
    """{secret, otpauth_uri} of an authenticator that does not count until a code confirms it. Raises TotpActive."""
    lock_row(Account, account_id)
    kept = db.session.get(TotpFactor, account_id)
    if kept and kept.confirmed_at:
        raise TotpActive
    if kept is None:
        kept = TotpFactor(account_id=account_id, created_at=now)
        db.session.add(kept)
    kept.secret_encrypted = encryption.encrypt(secret)
    return {"secret": secret, "otpauth_uri": totp_uri(secret, email)}


def complete_totp_enrollment(account_id: str, code: str, now: datetime) -> list[str]:
    """From now on the account asks for codes; its recovery codes, shown this once. Raises WrongCode."""
    rate_limits.hit(limits.SECOND_FACTOR, account_id)
    proved = consume_totp(account_id, code, now, confirmed=False)
    if proved is None:
        raise WrongCode("code")
    rate_limits.clear(limits.SECOND_FACTOR, account_id)
    account, kept = lock_row(Account, account_id), db.session.get(TotpFactor, account_id)
    if kept is None or kept.confirmed_at or kept.secret_encrypted != proved:  # begun anew at this very moment
        raise WrongCode("code")
    kept.confirmed_at = now
    codes = replace_recovery_codes(account_id)
    audit.record_event("authn_factor_added", account_id, factor="totp")
    mail.enqueue_mail("factor_added", account.email, now, factor="An authenticator app")
    return codes


def replace_recovery_codes(account_id: str) -> list[str]:
    """Ten new recovery codes; those before count no more, and no device is trusted any more."""
    trusted_devices.revoke_device_trust(account_id)
    db.session.execute(sa.delete(RecoveryCode).where(RecoveryCode.account_id == account_id))
    codes = generate_recovery_codes()
    hashes = [hash_token(recovery_code_key(account_id, code)) for code in codes]
    db.session.add_all([RecoveryCode(account_id=account_id, code_hash=kept) for kept in hashes])
    audit.record_event("recovery_codes_made", account_id)
    return codes


def renew_recovery_codes(account_id: str, email: str, now: datetime) -> list[str]:
    """New recovery codes in the place of those before, and a mail that tells: each stands in for the authenticator."""
    mail.enqueue_mail("factor_added", email, now, factor="A new set of recovery codes")
    return replace_recovery_codes(account_id)


def delete_totp(account_id: str, now: datetime) -> None:
    """The account asks for codes no more. Raises NotFound where it did not."""
    kept = db.session.get(TotpFactor, account_id)
    if kept is None:
        raise NotFound
    db.session.delete(kept)
    trusted_devices.revoke_device_trust(account_id)
    db.session.execute(sa.delete(RecoveryCode).where(RecoveryCode.account_id == account_id))
    audit.record_event("authn_factor_removed", account_id, factor="totp")
    mail.enqueue_mail("factor_removed", db.session.get(Account, account_id).email, now, factor="The authenticator app")


def totp_view(account_id: str) -> dict:
    """{active, since, recovery_codes_left}: whether the account asks for codes, and how many are left on paper."""
    since = db.session.scalar(sa.select(TotpFactor.confirmed_at).where(TotpFactor.account_id == account_id))
    left = sa.select(sa.func.count()).where(RecoveryCode.account_id == account_id, RecoveryCode.used_at.is_(None))
    return {"active": since is not None, "since": since, "recovery_codes_left": db.session.scalar(left)}
