"""Sign-in of operators: always a password and a code. An unknown email costs the same steps and one hash.

No operator has a password without an authenticator, so a password alone never signs in.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import sqlalchemy as sa

from streamsvc.models import OperatorAccount, OperatorSession
from streamsvc.operations.credentials.attempts import SignInAttempt, audit_lockout
from streamsvc.operations.operators import credentials
from streamsvc.operations.outbox import audit, mail
from streamsvc.rules import rate_limits as limits
from streamsvc.rules.emails import email_key
from streamsvc.rules.refusals.accounts import InvalidCredentials, SecondFactorInvalid, SecondFactorRequired
from streamsvc.rules.request_facts import RequestFacts
from streamsvc.rules.sign_in.inputs import AuthenticatorCodes, OperatorSignInInput
from streamsvc.rules.sign_in.sessions import hash_token
from streamsvc.security import password_hashing, rate_limits
from streamsvc.settings import current_settings
from streamsvc.storage.chunked_writes import delete_in_chunks
from streamsvc.storage.database import db, fetch_one, lock_existing_row

SECOND_FACTOR_METHODS: tuple[Literal["totp", "recovery_code"], ...] = ("totp", "recovery_code")
USUAL_NETWORK_PERIOD = timedelta(days=90)
"""How long a network counts as one that an operator usually signs in from, after a sign-in from there."""

OPERATOR_BY_EMAIL = sa.select(
    OperatorAccount.id,
    OperatorAccount.email,
    OperatorAccount.password_hash,
    OperatorAccount.totp_encrypted,
    OperatorAccount.status,
    sa.exists()
    .where(
        OperatorSession.operator_id == OperatorAccount.id,
        OperatorSession.network == sa.bindparam("network"),
        OperatorSession.created_at > sa.bindparam("usual_since"),
    )
    .label("is_usual_network"),
).where(OperatorAccount.email_key == sa.bindparam("email_key"))


@dataclass(frozen=True)
class VerifiedOperatorPassword:
    """A successful password check: the operator's row, and a new hash if the stored one was made at other costs."""

    operator: sa.Row
    new_hash: str | None


def verify_operator_password(body: OperatorSignInInput, facts: RequestFacts, now: datetime) -> VerifiedOperatorPassword:
    """Verify {email, password, challenge?}.

    Attempts from a network that the operator usually signs in from are counted separately, so that attempts from
    elsewhere cannot block them. Raises InvalidCredentials, TooManyAttempts; Unavailable if the hashing queue is full.
    """
    key, password = email_key(body["email"]), body["password"]
    usual_since = now - USUAL_NETWORK_PERIOD
    operator = fetch_one(OPERATOR_BY_EMAIL, {"email_key": key, "network": facts.network, "usual_since": usual_since})
    known_network = f"{operator.id} {facts.network}" if operator and operator.is_usual_network else None
    attempt = SignInAttempt(credentials.attempt_identifier(key), known_network, facts, body.get("challenge"))
    is_match = attempt.verify_password(operator.password_hash if operator else None, password)
    if not (is_match and operator and operator.status == "active" and operator.totp_encrypted):
        attempt.record_failure(operator=operator.id if operator else None)
        raise InvalidCredentials
    attempt.record_success()
    needs_rehash = password_hashing.needs_rehash(operator.password_hash)
    return VerifiedOperatorPassword(operator, password_hashing.hash_password(password) if needs_rehash else None)


def require_operator_second_factor(operator_id: str, body: AuthenticatorCodes, now: datetime) -> None:
    """Require a code after a correct password. Raises SecondFactorRequired, SecondFactorInvalid, TooManyAttempts."""
    sent = [method for method in SECOND_FACTOR_METHODS if body.get(method)]
    if not sent:
        raise SecondFactorRequired(methods=list(SECOND_FACTOR_METHODS))
    count = rate_limits.hit(limits.SECOND_FACTOR, operator_id)
    if not any(_consume_code(operator_id, method, body[method], now) for method in sent):
        audit.record_event("authn_second_factor_fail", actor="anonymous", operator=operator_id, method=sent[0])
        audit_lockout(limits.SECOND_FACTOR, count, None, actor=operator_id)
        db.session.commit()
        raise SecondFactorInvalid
    rate_limits.clear(limits.SECOND_FACTOR, operator_id)


def _consume_code(operator_id: str, method: str, code: str, now: datetime) -> bool:
    if method == "totp":
        return credentials.consume_operator_totp(operator_id, code, now)
    return credentials.consume_operator_recovery_code(operator_id, code, now)


def create_operator_session(
    verified: VerifiedOperatorPassword, token: str, facts: RequestFacts, now: datetime
) -> OperatorSession:
    """Create a session with the hash of `token`, in the caller's transaction.

    A sign-in from a new network is notified by mail. Raises InvalidCredentials if the credentials have changed since
    they were verified.
    """
    operator = lock_existing_row(OperatorAccount, verified.operator.id)
    expected = (verified.operator.password_hash, verified.operator.totp_encrypted, "active")
    if (operator.password_hash, operator.totp_encrypted, operator.status) != expected:
        raise InvalidCredentials
    operator.password_hash = verified.new_hash or operator.password_hash
    session = OperatorSession(
        operator_id=operator.id,
        token_hash=hash_token(token),
        epoch=current_settings().session_epoch,
        created_at=now,
        authenticated_at=now,
        last_seen_at=now,
        network=facts.network,
        user_agent=facts.user_agent,
    )
    db.session.add(session)
    db.session.flush()
    audit.record_event("authn_login_success", actor=operator.id, session=session.id)
    if not verified.operator.is_usual_network:
        notice = f"You signed in from {session.network}, a new network"
        mail.enqueue_mail("operator_notice", operator.email, now, what=notice)
    return session


def purge_old_operator_sessions(now: datetime) -> None:
    """Delete sessions older than `USUAL_NETWORK_PERIOD`, in chunks. They ended long before."""
    delete_in_chunks(OperatorSession.id, OperatorSession.created_at < now - USUAL_NETWORK_PERIOD)
