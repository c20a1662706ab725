"""What proves an operator: a password and an authenticator, which they set themselves, both at once to begin with."""

from datetime import datetime

import sqlalchemy as sa

from streamsvc.models import MailedToken, OperatorAccount, OperatorCode, OperatorSession
from streamsvc.operations.accounts import accounts
from streamsvc.operations.credentials.attempts import audit_lockout
from streamsvc.operations.credentials.second_factor import find_totp_step
from streamsvc.operations.operators.people import INVITATION_KIND
from streamsvc.operations.outbox import audit, mail
from streamsvc.rules import rate_limits as limits
from streamsvc.rules.refusals.accounts import TokenInvalid, WrongCode, WrongPassword
from streamsvc.rules.sign_in.sessions import hash_token
from streamsvc.rules.sign_in.totp import generate_recovery_codes, generate_totp_secret, recovery_code_key, totp_uri
from streamsvc.security import encryption, password_hashing, rate_limits
from streamsvc.storage.database import db, execute_write, fetch_one, lock_row

ISSUER = "streamsvc-operators"


def attempt_identifier(email_key: str) -> str:
    """Under what an operator's sign-ins are counted: apart from those of a viewer with the same address."""
    return f"operator {email_key}"


def get_invited_operator(token: str, now: datetime) -> sa.Row:
    """The operator whose open invitation this is. Raises TokenInvalid."""
    open_one = (
        MailedToken.kind == INVITATION_KIND,
        MailedToken.token_hash == hash_token(token),
        MailedToken.used_at.is_(None),
    )
    proof = fetch_one(sa.select(MailedToken.data).where(*open_one, MailedToken.expires_at > now))
    if proof is None:
        raise TokenInvalid
    return find_operator_row(proof.data["operator_id"])


def find_operator_row(operator_id: str) -> sa.Row:
    """The operator's columns, read without beginning a unit of work."""
    return fetch_one(sa.select(*OperatorAccount.__table__.c).where(OperatorAccount.id == operator_id))


def start_operator_totp(operator_id: str) -> dict:
    """{secret, otpauth_uri} of an authenticator that does not count until a code confirms it."""
    operator, secret = lock_row(OperatorAccount, operator_id), generate_totp_secret()
    operator.totp_pending_encrypted = encryption.encrypt(secret)
    return {"secret": secret, "otpauth_uri": totp_uri(secret, operator.email, ISSUER)}


def get_pending_totp_step(operator: sa.Row, code: str, now: datetime) -> int:
    """The step whose code the authenticator that waits has shown. Raises WrongCode."""
    sealed = operator.totp_pending_encrypted
    step = find_totp_step(sealed, code, now) if sealed else None
    if step is None:
        raise WrongCode("code")
    return step


def enroll_operator(token: str, operator_row: sa.Row, new_hash: str, step: int, now: datetime) -> list[str]:
    """Use the invitation up and set password and authenticator; the recovery codes. Raises TokenInvalid.

    `proved` is the operator as `invited` saw them when `step` was shown.
    """
    if MailedToken.consume(INVITATION_KIND, hash_token(token), now) is None:
        raise TokenInvalid
    operator = lock_row(OperatorAccount, operator_row.id)
    operator.password_hash = new_hash
    codes = _activate_pending_totp(operator, operator_row, step)
    OperatorSession.revoke_all(operator.id, now)
    rate_limits.clear_in_transaction(limits.SIGN_IN_ACCOUNT, attempt_identifier(operator.email_key))
    rate_limits.clear_in_transaction(limits.SECOND_FACTOR, operator.id)
    audit.record_event("operator_enrolled", actor=operator.id)
    mail.enqueue_mail("operator_notice", operator.email, now, what="A password and an authenticator app were set")
    return codes


def replace_operator_totp(operator_row: sa.Row, step: int, kept_session_id: str, now: datetime) -> list[str]:
    """The authenticator that waited takes the other's place; new recovery codes. Every other session ends."""
    operator = lock_row(OperatorAccount, operator_row.id)
    codes = _activate_pending_totp(operator, operator_row, step)
    OperatorSession.revoke_all(operator.id, now, OperatorSession.id != kept_session_id)
    audit.record_event("authn_factor_added", actor=operator.id, factor="totp")
    mail.enqueue_mail("operator_notice", operator.email, now, what="Another authenticator app took the place of yours")
    return codes


def _activate_pending_totp(operator: OperatorAccount, operator_row: sa.Row, step: int) -> list[str]:
    if operator.totp_pending_encrypted != operator_row.totp_pending_encrypted:
        raise WrongCode("code")
    operator.totp_encrypted, operator.totp_pending_encrypted = operator.totp_pending_encrypted, None
    operator.totp_last_step = step
    return replace_operator_recovery_codes(operator.id)


def renew_operator_recovery_codes(operator_id: str, now: datetime) -> list[str]:
    """New recovery codes in the place of those before, and a mail that tells: each stands in for the authenticator."""
    operator = lock_row(OperatorAccount, operator_id)
    mail.enqueue_mail("operator_notice", operator.email, now, what="New recovery codes took the place of yours")
    return replace_operator_recovery_codes(operator_id)


def replace_operator_recovery_codes(operator_id: str) -> list[str]:
    """Ten new recovery codes; those before count no more."""
    db.session.execute(sa.delete(OperatorCode).where(OperatorCode.operator_id == operator_id))
    codes = generate_recovery_codes()
    hashes = [hash_token(recovery_code_key(operator_id, code)) for code in codes]
    db.session.add_all([OperatorCode(operator_id=operator_id, code_hash=kept) for kept in hashes])
    audit.record_event("recovery_codes_made", actor=operator_id)
    return codes


def check_operator_password_change(operator: sa.Row, current_password: str, new_password: str) -> None:
    """Raises Invalid for the new password, WrongPassword for the current one, TooManyAttempts."""
    accounts.check_password_strength(new_password, operator.email, operator.name)
    count = rate_limits.hit(limits.REAUTHENTICATION, operator.id)
    if not password_hashing.verify_password(operator.password_hash, current_password, known_device=True):
        audit.record_event("reauthn_fail", actor=operator.id)
        audit_lockout(limits.REAUTHENTICATION, count, None, actor=operator.id)
        db.session.commit()
        raise WrongPassword("current_password")
    rate_limits.clear(limits.REAUTHENTICATION, operator.id)


def set_operator_password(operator_id: str, new_hash: str, kept_session_id: str, now: datetime) -> None:
    """Set the password and end every other session, in the caller's unit of work."""
    operator = lock_row(OperatorAccount, operator_id)
    operator.password_hash = new_hash
    OperatorSession.revoke_all(operator.id, now, OperatorSession.id != kept_session_id)
    audit.record_event("authn_password_change", actor=operator.id)
    mail.enqueue_mail("operator_notice", operator.email, now, what="Your password was changed")


def verify_operator_reauthentication(operator_id: str, session_id: str, code: str, now: datetime) -> None:
    """For ten minutes from now the session may mint keys and operators. Raises WrongCode, TooManyAttempts."""
    count = rate_limits.hit(limits.REAUTHENTICATION, operator_id)
    if not consume_operator_totp(operator_id, code, now):
        audit.record_event("reauthn_fail", actor=operator_id)
        audit_lockout(limits.REAUTHENTICATION, count, None, actor=operator_id)
        db.session.commit()
        raise WrongCode("totp")
    rate_limits.clear(limits.REAUTHENTICATION, operator_id)
    proved = sa.update(OperatorSession).where(OperatorSession.id == session_id).values(authenticated_at=now)
    db.session.execute(proved)
    audit.record_event("reauthn_success", actor=operator_id)


def consume_operator_totp(operator_id: str, code: str, now: datetime) -> bool:
    """Whether this is a code of the operator's authenticator that was not used yet; uses it up."""
    sealed = find_operator_row(operator_id).totp_encrypted
    step = find_totp_step(sealed, code, now) if sealed else None
    if step is None:
        return False
    unused = (
        OperatorAccount.id == operator_id,
        OperatorAccount.totp_encrypted == sealed,
        OperatorAccount.totp_last_step < step,
    )
    return execute_write(sa.update(OperatorAccount).where(*unused).values(totp_last_step=step)) == 1


def consume_operator_recovery_code(operator_id: str, code: str, now: datetime) -> bool:
    """Whether this is a recovery code of the operator's that was not used yet; uses it up."""
    key = hash_token(recovery_code_key(operator_id, code))
    unused = (OperatorCode.code_hash == key, OperatorCode.operator_id == operator_id, OperatorCode.used_at.is_(None))
    return execute_write(sa.update(OperatorCode).where(*unused).values(used_at=now)) == 1
