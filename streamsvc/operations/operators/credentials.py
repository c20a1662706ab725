"""What proves an operator: a password and an authenticator, which they set themselves, both at once to begin with."""

from datetime import datetime

import sqlalchemy as sa

from streamsvc.models import OperatorAccount, OperatorCode, OperatorSession, Proof
from streamsvc.operations.accounts import accounts
from streamsvc.operations.credentials.attempts import tell_if_shut
from streamsvc.operations.credentials.second_factor import step_of_sealed
from streamsvc.operations.operators.people import INVITATION
from streamsvc.operations.outbox import audit, mail
from streamsvc.rules import rate_limits as limits
from streamsvc.rules.refusals.accounts import TokenInvalid, WrongCode, WrongPassword
from streamsvc.rules.sign_in.sessions import fingerprint
from streamsvc.rules.sign_in.totp import new_recovery_codes, new_totp_secret, recovery_key, uri
from streamsvc.security import encryption, password_hashing, rate_limits
from streamsvc.storage.database import affected, db, lock, one_row

ISSUER = "streamsvc-operators"


def identifier_of(email_key: str) -> str:
    """Under what an operator's sign-ins are counted: apart from those of a viewer with the same address."""
    return f"operator {email_key}"


def invited(token: str, now: datetime) -> sa.Row:
    """The operator whose open invitation this is. Raises TokenInvalid."""
    open_one = (Proof.kind == INVITATION, Proof.token_hash == fingerprint(token), Proof.used_at.is_(None))
    proof = one_row(sa.select(Proof.data).where(*open_one, Proof.expires_at > now))
    if proof is None:
        raise TokenInvalid
    return facts_of(proof.data["operator_id"])


def facts_of(operator_id: str) -> sa.Row:
    """The operator's columns, read without beginning a unit of work."""
    return one_row(sa.select(*OperatorAccount.__table__.c).where(OperatorAccount.id == operator_id))


def begin_totp(operator_id: str) -> dict:
    """{secret, otpauth_uri} of an authenticator that does not count until a code confirms it."""
    operator, secret = lock(OperatorAccount, operator_id), new_totp_secret()
    operator.totp_pending_sealed = encryption.seal(secret)
    return {"secret": secret, "otpauth_uri": uri(secret, operator.email, ISSUER)}


def pending_step(operator: sa.Row, code: str, now: datetime) -> int:
    """The step whose code the authenticator that waits has shown. Raises WrongCode."""
    sealed = operator.totp_pending_sealed
    step = step_of_sealed(sealed, code, now) if sealed else None
    if step is None:
        raise WrongCode("code")
    return step


def enrol(token: str, proved: sa.Row, new_hash: str, step: int, now: datetime) -> list[str]:
    """Use the invitation up and set password and authenticator; the recovery codes. Raises TokenInvalid.

    `proved` is the operator as `invited` saw them when `step` was shown.
    """
    if Proof.use(INVITATION, fingerprint(token), now) is None:
        raise TokenInvalid
    operator = lock(OperatorAccount, proved.id)
    operator.password_hash = new_hash
    codes = _adopt(operator, proved, step)
    OperatorSession.end_all(operator.id, now)
    rate_limits.clear_within(limits.SIGN_IN_ACCOUNT, identifier_of(operator.email_key))
    rate_limits.clear_within(limits.SECOND_FACTOR, operator.id)
    audit.record("operator_enrolled", actor=operator.id)
    mail.post("operator_notice", operator.email, now, what="A password and an authenticator app were set")
    return codes


def change_totp(proved: sa.Row, step: int, kept_session: str, now: datetime) -> list[str]:
    """The authenticator that waited takes the other's place; new recovery codes. Every other session ends."""
    operator = lock(OperatorAccount, proved.id)
    codes = _adopt(operator, proved, step)
    OperatorSession.end_all(operator.id, now, OperatorSession.id != kept_session)
    audit.record("authn_factor_added", actor=operator.id, factor="totp")
    mail.post("operator_notice", operator.email, now, what="Another authenticator app took the place of yours")
    return codes


def _adopt(operator: OperatorAccount, proved: sa.Row, step: int) -> list[str]:
    if operator.totp_pending_sealed != proved.totp_pending_sealed:
        raise WrongCode("code")
    operator.totp_sealed, operator.totp_pending_sealed = operator.totp_pending_sealed, None
    operator.totp_last_step = step
    return new_codes(operator.id)


def renew_codes(operator_id: str, now: datetime) -> list[str]:
    """New recovery codes in the place of those before, and a mail that tells: each stands in for the authenticator."""
    operator = lock(OperatorAccount, operator_id)
    mail.post("operator_notice", operator.email, now, what="New recovery codes took the place of yours")
    return new_codes(operator_id)


def new_codes(operator_id: str) -> list[str]:
    """Ten new recovery codes; those before count no more."""
    db.session.execute(sa.delete(OperatorCode).where(OperatorCode.operator_id == operator_id))
    codes = new_recovery_codes()
    hashes = [fingerprint(recovery_key(operator_id, code)) for code in codes]
    db.session.add_all([OperatorCode(operator_id=operator_id, code_hash=kept) for kept in hashes])
    audit.record("recovery_codes_made", actor=operator_id)
    return codes


def check_new_password(operator: sa.Row, current: str, new: str) -> None:
    """Raises Invalid for the new password, WrongPassword for the current one, TooManyAttempts."""
    accounts.check_password(new, operator.email, operator.name)
    count = rate_limits.take(limits.REAUTHENTICATION, operator.id)
    if not password_hashing.matches(operator.password_hash, current, at_home=True):
        audit.record("reauthn_fail", actor=operator.id)
        tell_if_shut(limits.REAUTHENTICATION, count, None, actor=operator.id)
        db.session.commit()
        raise WrongPassword("current_password")
    rate_limits.clear(limits.REAUTHENTICATION, operator.id)


def set_password(operator_id: str, new_hash: str, kept_session: str, now: datetime) -> None:
    """Set the password and end every other session, in the caller's unit of work."""
    operator = lock(OperatorAccount, operator_id)
    operator.password_hash = new_hash
    OperatorSession.end_all(operator.id, now, OperatorSession.id != kept_session)
    audit.record("authn_password_change", actor=operator.id)
    mail.post("operator_notice", operator.email, now, what="Your password was changed")


def prove(operator_id: str, session_id: str, code: str, now: datetime) -> None:
    """For ten minutes from now the session may mint keys and operators. Raises WrongCode, TooManyAttempts."""
    count = rate_limits.take(limits.REAUTHENTICATION, operator_id)
    if not use_totp(operator_id, code, now):
        audit.record("reauthn_fail", actor=operator_id)
        tell_if_shut(limits.REAUTHENTICATION, count, None, actor=operator_id)
        db.session.commit()
        raise WrongCode("totp")
    rate_limits.clear(limits.REAUTHENTICATION, operator_id)
    proved = sa.update(OperatorSession).where(OperatorSession.id == session_id).values(authenticated_at=now)
    db.session.execute(proved)
    audit.record("reauthn_success", actor=operator_id)


def use_totp(operator_id: str, code: str, now: datetime) -> bool:
    """Whether this is a code of the operator's authenticator that was not used yet; uses it up."""
    sealed = facts_of(operator_id).totp_sealed
    step = step_of_sealed(sealed, code, now) if sealed else None
    if step is None:
        return False
    unused = (
        OperatorAccount.id == operator_id,
        OperatorAccount.totp_sealed == sealed,
        OperatorAccount.totp_last_step < step,
    )
    return affected(sa.update(OperatorAccount).where(*unused).values(totp_last_step=step)) == 1


def use_recovery_code(operator_id: str, code: str, now: datetime) -> bool:
    """Whether this is a recovery code of the operator's that was not used yet; uses it up."""
    key = fingerprint(recovery_key(operator_id, code))
    unused = (OperatorCode.code_hash == key, OperatorCode.operator_id == operator_id, OperatorCode.used_at.is_(None))
    return affected(sa.update(OperatorCode).where(*unused).values(used_at=now)) == 1
