"""How operators sign in: a password and, always, a code. The same steps and one hash whoever is asked for.

No operator has a password without an authenticator, so there is nobody whom a password alone lets in.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from flask import current_app, request

from streamsvc.models import OperatorAccount, OperatorSession
from streamsvc.operations.credentials.attempts import SignInAttempt, audit_lockout
from streamsvc.operations.operators import credentials
from streamsvc.operations.outbox import audit, mail
from streamsvc.rules import rate_limits as limits
from streamsvc.rules.emails import email_key
from streamsvc.rules.refusals.accounts import InvalidCredentials, SecondFactorInvalid, SecondFactorRequired
from streamsvc.rules.sign_in.sessions import hash_token
from streamsvc.security import password_hashing, rate_limits
from streamsvc.storage.database import db, fetch_one, lock_row

SECOND_FACTOR_METHODS = ("totp", "recovery_code")
USUAL_NETWORK_PERIOD = timedelta(days=90)
"""How long a network counts as an operator's usual place after a sign-in from there."""

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
    .label("is_usual_place"),
).where(OperatorAccount.email_key == sa.bindparam("email_key"))


@dataclass(frozen=True)
class VerifiedOperatorPassword:
    """Who knew the password: the operator's row, and a new hash where the kept one was made at other costs."""

    operator: sa.Row
    new_hash: str | None


def verify_operator_password(body: dict, now: datetime) -> VerifiedOperatorPassword:
    """`given`: {email, password, challenge?}. Raises InvalidCredentials, TooManyAttempts, or Unavailable under a storm.

    From a usual place the attempts have a count of their own: strangers elsewhere cannot close that door.
    """
    key, password, network = email_key(body["email"]), body["password"], limits.source_network(request.remote_addr)
    found = fetch_one(
        OPERATOR_BY_EMAIL, {"email_key": key, "network": network, "usual_since": now - USUAL_NETWORK_PERIOD}
    )
    usual = f"{found.id} {network}" if found and found.is_usual_place else None
    attempt = SignInAttempt(credentials.attempt_identifier(key), usual, body.get("challenge"))
    right = attempt.verify_password(found.password_hash if found else None, password)
    if not (right and found and found.status == "active" and found.totp_encrypted):
        attempt.record_failure(operator=found.id if found else None)
        raise InvalidCredentials
    attempt.record_success()
    return VerifiedOperatorPassword(
        found, password_hashing.hash_password(password) if password_hashing.needs_rehash(found.password_hash) else None
    )


def require_operator_second_factor(operator_id: str, body: dict, now: datetime) -> None:
    """After the right password. Raises SecondFactorRequired, SecondFactorInvalid, TooManyAttempts."""
    sent = [name for name in SECOND_FACTOR_METHODS if body.get(name)]
    if not sent:
        raise SecondFactorRequired(methods=list(SECOND_FACTOR_METHODS))
    count = rate_limits.hit(limits.SECOND_FACTOR, operator_id)
    if not any(_consume_code(operator_id, name, body[name], now) for name in sent):
        audit.record_event("authn_second_factor_fail", actor="anonymous", operator=operator_id, method=sent[0])
        audit_lockout(limits.SECOND_FACTOR, count, None, actor=operator_id)
        db.session.commit()
        raise SecondFactorInvalid
    rate_limits.clear(limits.SECOND_FACTOR, operator_id)


def _consume_code(operator_id: str, method: str, code: str, now: datetime) -> bool:
    use = credentials.consume_operator_totp if method == "totp" else credentials.consume_operator_recovery_code
    return use(operator_id, code, now)


def create_operator_session(verified: VerifiedOperatorPassword, token: str, now: datetime) -> OperatorSession:
    """A session under `token`, in the caller's unit of work. Raises InvalidCredentials if the proofs have changed."""
    found = verified.operator
    operator = lock_row(OperatorAccount, found.id)
    still = (found.password_hash, found.totp_encrypted, "active")
    if (operator.password_hash, operator.totp_encrypted, operator.status) != still:
        raise InvalidCredentials
    operator.password_hash = verified.new_hash or operator.password_hash
    session = OperatorSession(
        operator_id=operator.id,
        token_hash=hash_token(token),
        epoch=current_app.extensions["settings"].session_epoch,
        created_at=now,
        authenticated_at=now,
        last_seen_at=now,
        network=limits.source_network(request.remote_addr),
        user_agent=request.headers.get("User-Agent", "")[:300],
    )
    db.session.add(session)
    db.session.flush()
    audit.record_event("authn_login_success", actor=operator.id, session=session.id)
    if not found.is_usual_place:
        mail.enqueue_mail(
            "operator_notice", operator.email, now, what=f"You signed in from {session.network}, a new place"
        )
    return session


def purge_old_operator_sessions(now: datetime) -> None:
    """Drop the sessions, long dead, whose networks count as usual no more; in the caller's unit of work."""
    db.session.execute(sa.delete(OperatorSession).where(OperatorSession.created_at < now - USUAL_NETWORK_PERIOD))
