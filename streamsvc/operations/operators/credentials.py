"""Operators' credentials: a password and an authenticator app, which they set up themselves, both at once at first."""

from datetime import datetime

import sqlalchemy as sa

from streamsvc.models import MailedToken, OperatorAccount, OperatorCode, OperatorSession
from streamsvc.operations.accounts import accounts
from streamsvc.operations.credentials.attempts import audit_lockout
from streamsvc.operations.credentials.second_factor import find_totp_step
from streamsvc.operations.operators import impersonation
from streamsvc.operations.operators.people import INVITATION_KIND
from streamsvc.operations.outbox import audit, mail
from streamsvc.rules import rate_limits as limits
from streamsvc.rules.refusals.accounts import TokenInvalid, WrongCode, WrongPassword
from streamsvc.rules.sign_in.sessions import hash_token
from streamsvc.rules.sign_in.totp import (
    MAX_STEPS_AHEAD,
    generate_recovery_codes,
    generate_totp_secret,
    recovery_code_key,
    totp_uri,
)
from streamsvc.security import encryption, password_hashing, rate_limits
from streamsvc.storage.database import db, execute_write, fetch_existing, fetch_one, lock_existing_row

ISSUER = "streamsvc-operators"


def attempt_identifier(email_key: str) -> str:
    """Return the identifier of an operator's sign-in attempts, distinct from a viewer's with the same email address."""
    return f"operator {email_key}"


def get_invited_operator(token: str, now: datetime) -> sa.Row:
    """Return the row of the operator whose open invitation has this token. Raises TokenInvalid."""
    is_open = (
        MailedToken.kind == INVITATION_KIND,
        MailedToken.token_hash == hash_token(token),
        *MailedToken.open_conditions(now),
    )
    invitation = fetch_one(sa.select(MailedToken.data).where(*is_open))
    if invitation is None:
        raise TokenInvalid
    return find_operator_row(invitation.data["operator_id"])


def find_operator_row(operator_id: str) -> sa.Row:
    """Load the operator's columns, read without starting a transaction."""
    return fetch_existing(sa.select(*OperatorAccount.__table__.c).where(OperatorAccount.id == operator_id))


def start_operator_totp(operator_id: str) -> dict:
    """Add an authenticator that has no effect until a code confirms it: {secret, otpauth_uri}."""
    operator, secret = lock_existing_row(OperatorAccount, operator_id), generate_totp_secret()
    operator.totp_pending_encrypted = encryption.encrypt(secret)
    return {"secret": secret, "otpauth_uri": totp_uri(secret, operator.email, ISSUER)}


def get_pending_totp_step(operator: sa.Row, code: str, now: datetime) -> int:
    """Return the time step of a code of the pending authenticator. Raises WrongCode."""
    secret_encrypted = operator.totp_pending_encrypted
    step = find_totp_step(secret_encrypted, code, now) if secret_encrypted else None
    if step is None:
        raise WrongCode("code")
    return step


def enroll_operator(token: str, operator_row: sa.Row, new_hash: str, step: int, now: datetime) -> list[str]:
    """Consume the invitation, set the password and the authenticator, and return the recovery codes.

    `operator_row` is the operator as read when the code of `step` was verified. Raises TokenInvalid, WrongCode.
    """
    if MailedToken.consume(INVITATION_KIND, hash_token(token), now) is None:
        raise TokenInvalid
    operator = lock_existing_row(OperatorAccount, operator_row.id)
    operator.password_hash = new_hash
    codes = _activate_pending_totp(operator, operator_row, step)
    impersonation.end_operator_sessions(operator.id, now)
    rate_limits.clear_in_transaction((limits.SIGN_IN_ACCOUNT, attempt_identifier(operator_row.email_key)))
    rate_limits.clear_in_transaction((limits.SECOND_FACTOR, operator.id))
    audit.record_event("operator_enrolled", actor=operator.id)
    mail.enqueue_mail("operator_notice", operator.email, now, what="A password and an authenticator app were set")
    return codes


def replace_operator_totp(operator_row: sa.Row, step: int, kept_session_id: str, now: datetime) -> list[str]:
    """Replace the authenticator with the pending one, end all other sessions, and return new recovery codes.

    Raises WrongCode if the pending authenticator was replaced concurrently.
    """
    operator = lock_existing_row(OperatorAccount, operator_row.id)
    codes = _activate_pending_totp(operator, operator_row, step)
    impersonation.end_operator_sessions(operator.id, now, OperatorSession.id != kept_session_id)
    audit.record_event("authn_factor_added", actor=operator.id, factor="totp")
    mail.enqueue_mail("operator_notice", operator.email, now, what="Your authenticator app was replaced")
    return codes


def _activate_pending_totp(operator: OperatorAccount, operator_row: sa.Row, step: int) -> list[str]:
    """Activate the pending authenticator that was verified; new recovery codes. Raises WrongCode."""
    if operator.totp_pending_encrypted != operator_row.totp_pending_encrypted:
        raise WrongCode("code")
    operator.totp_encrypted, operator.totp_pending_encrypted = operator.totp_pending_encrypted, None
    operator.totp_last_step = step
    return replace_operator_recovery_codes(operator.id)


def renew_operator_recovery_codes(operator_id: str, now: datetime) -> list[str]:
    """Replace the recovery codes and notify the operator by mail, since each of them replaces the authenticator."""
    operator = lock_existing_row(OperatorAccount, operator_id)
    mail.enqueue_mail("operator_notice", operator.email, now, what="Your recovery codes were replaced")
    return replace_operator_recovery_codes(operator_id)


def replace_operator_recovery_codes(operator_id: str) -> list[str]:
    """Replace the recovery codes by ten new ones."""
    db.session.execute(sa.delete(OperatorCode).where(OperatorCode.operator_id == operator_id))
    codes = generate_recovery_codes()
    hashes = [hash_token(recovery_code_key(operator_id, code)) for code in codes]
    db.session.add_all([OperatorCode(operator_id=operator_id, code_hash=code_hash) for code_hash in hashes])
    audit.record_event("recovery_codes_made", actor=operator_id)
    return codes


def check_operator_password_change(operator: sa.Row, current_password: str, new_password: str) -> None:
    """Check both passwords: Invalid for the new one, WrongPassword for the current one; raises TooManyAttempts too."""
    accounts.check_password_strength(new_password, operator.email, operator.name)
    count = rate_limits.hit(limits.REAUTHENTICATION, operator.id)
    if not password_hashing.verify_password(operator.password_hash, current_password, known_device=True):
        audit.record_event("reauthn_fail", actor=operator.id)
        audit_lockout(limits.REAUTHENTICATION, count, None, actor=operator.id)
        db.session.commit()
        raise WrongPassword("current_password")
    rate_limits.clear(limits.REAUTHENTICATION, operator.id)


def set_operator_password(operator_id: str, new_hash: str, kept_session_id: str, now: datetime) -> None:
    """Set the password and end every other session, in the caller's transaction."""
    operator = lock_existing_row(OperatorAccount, operator_id)
    operator.password_hash = new_hash
    impersonation.end_operator_sessions(operator.id, now, OperatorSession.id != kept_session_id)
    audit.record_event("authn_password_change", actor=operator.id)
    mail.enqueue_mail("operator_notice", operator.email, now, what="Your password was changed")


def verify_operator_reauthentication(operator_id: str, session_id: str, code: str, now: datetime) -> None:
    """Allow the session to manage API keys and operators for ten minutes. Raises WrongCode, TooManyAttempts."""
    count = rate_limits.hit(limits.REAUTHENTICATION, operator_id)
    if not consume_operator_totp(operator_id, code, now):
        audit.record_event("reauthn_fail", actor=operator_id)
        audit_lockout(limits.REAUTHENTICATION, count, None, actor=operator_id)
        db.session.commit()
        raise WrongCode("totp")
    rate_limits.clear(limits.REAUTHENTICATION, operator_id)
    statement = sa.update(OperatorSession).where(OperatorSession.id == session_id)
    db.session.execute(statement.values(authenticated_at=now))
    audit.record_event("reauthn_success", actor=operator_id)


def consume_operator_totp(operator_id: str, code: str, now: datetime) -> bool:
    """Consume a code of the operator's authenticator; False if it is wrong or was used before."""
    secret_encrypted = find_operator_row(operator_id).totp_encrypted
    step = find_totp_step(secret_encrypted, code, now) if secret_encrypted else None
    if step is None:
        return False
    is_unused = (
        OperatorAccount.id == operator_id,
        OperatorAccount.totp_encrypted == secret_encrypted,
        sa.or_(OperatorAccount.totp_last_step < step, OperatorAccount.totp_last_step > step + MAX_STEPS_AHEAD),
    )
    return execute_write(sa.update(OperatorAccount).where(*is_unused).values(totp_last_step=step)) == 1


def consume_operator_recovery_code(operator_id: str, code: str, now: datetime) -> bool:
    """Consume one of the operator's recovery codes; False if it is wrong or was used before."""
    is_unused = (
        OperatorCode.code_hash == hash_token(recovery_code_key(operator_id, code)),
        OperatorCode.operator_id == operator_id,
        OperatorCode.used_at.is_(None),
    )
    return execute_write(sa.update(OperatorCode).where(*is_unused).values(used_at=now)) == 1
