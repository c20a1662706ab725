"""Reauthentication: opens a ten-minute window for calls that must not be possible from an unattended device."""

from datetime import datetime, timedelta

import sqlalchemy as sa

from streamsvc import clock
from streamsvc.models import Account, MailedToken, Session, TotpFactor
from streamsvc.operations.credentials import second_factor
from streamsvc.operations.credentials.attempts import audit_lockout
from streamsvc.operations.credentials.mail_limits import count_mail_request, is_token_mail_due
from streamsvc.operations.outbox import audit, mail
from streamsvc.operations.sign_in import passkeys
from streamsvc.rules import rate_limits as limits
from streamsvc.rules.refusals.access import NotSignedIn
from streamsvc.rules.refusals.accounts import (
    InvalidCredentials,
    OtherProofRequired,
    WrongCode,
    WrongPasskey,
    WrongPassword,
)
from streamsvc.rules.request_facts import RequestFacts
from streamsvc.rules.sign_in.inputs import ReauthenticationInput
from streamsvc.rules.sign_in.sessions import REAUTHENTICATION_WINDOW, hash_token, new_token
from streamsvc.security import password_hashing, rate_limits
from streamsvc.security.viewers import Viewer
from streamsvc.storage.database import db, execute_in_session, fetch_existing

CODE_KIND = "reauthentication_code"
CLOCK_GRAIN = timedelta(seconds=1)
"""By how much a window that was ended early is over."""


def verify_reauthentication(viewer: Viewer, body: ReauthenticationInput) -> None:
    """Verify one of `password`, `totp`, `credential` (of a passkey) and `email_code` in the body.

    Raises WrongPassword, WrongPasskey, WrongCode, TooManyAttempts.
    """
    account_id, now = viewer.account_id, clock.now()
    if "password" in body:
        verify_current_password(account_id, body["password"])
        return
    count = rate_limits.hit(limits.REAUTHENTICATION, account_id)
    if "credential" in body:
        try:
            passkeys.complete_passkey_reauthentication(body["credential"], account_id, viewer.row.session_id, now)
        except InvalidCredentials:
            raise WrongPasskey("credential") from None
    elif not _is_valid_code(account_id, body, now):
        _record_failure(account_id, count)
        raise WrongCode("totp" if "totp" in body else "email_code")
    rate_limits.clear(limits.REAUTHENTICATION, account_id)


def verify_current_password(account_id: str, password: str, field: str = "password") -> None:
    """Verify the account's password, sent as `field`. Raises WrongPassword, TooManyAttempts."""
    count = rate_limits.hit(limits.REAUTHENTICATION, account_id)
    account = fetch_existing(sa.select(Account.password_hash).where(Account.id == account_id))
    if not password_hashing.verify_password(account.password_hash, password, known_device=True):
        _record_failure(account_id, count)
        raise WrongPassword(field)
    rate_limits.clear(limits.REAUTHENTICATION, account_id)


def _record_failure(account_id: str, count: int) -> None:
    """Record the failure, and any lockout that it starts, in the audit log. Commits."""
    audit.record_event("reauthn_fail", account_id)
    audit_lockout(limits.REAUTHENTICATION, count, account_id, actor=account_id)
    db.session.commit()


def enqueue_reauthentication_code(account_id: str, facts: RequestFacts, now: datetime) -> None:
    """Mail a code to an owner who has neither a password nor an authenticator. Raises OtherProofRequired.

    Beyond the mail limits, a code that is still fresh stays good instead.
    """
    has_totp = sa.exists().where(TotpFactor.account_id == Account.id, TotpFactor.confirmed_at.is_not(None))
    account = fetch_existing(
        sa.select(Account.email, Account.password_hash, has_totp.label("has_totp")).where(Account.id == account_id)
    )
    is_available = {"password": account.password_hash, "totp": account.has_totp}
    methods = [method for method, available in is_available.items() if available]
    if methods:
        raise OtherProofRequired(methods=methods)
    if is_token_mail_due(CODE_KIND, account_id, count_mail_request(f"{CODE_KIND} {account_id}", facts), now):
        mail.enqueue_token_mail(CODE_KIND, account.email, account_id, now)
        audit.record_event("reauthn_code_asked", account_id)


def start_reauthentication_window(session_id: str, account_id: str) -> None:
    """Allow the session sensitive calls for the next ten minutes, in the caller's transaction."""
    now = clock.now()
    db.session.execute(sa.update(Session).where(Session.id == session_id).values(authenticated_at=now))
    audit.record_event("reauthn_success", account_id)


def end_reauthentication_window(session: Session) -> None:
    """Require a reauthentication for the session's next sensitive call, in the caller's transaction.

    Its last authentication counts as one before the window, also for a television that the session approves.
    """
    latest = clock.now() - REAUTHENTICATION_WINDOW - CLOCK_GRAIN
    session.authenticated_at = min(session.authenticated_at, latest)


def renew_session_token(viewer: Viewer, requested: bool) -> str | None:
    """Replace the token of the viewer's session, in the caller's transaction; None if it stays as it is.

    A session in a cookie always gets a new token. Other clients must request it, since their old token stops working.
    Raises NotSignedIn if the session has ended or its token was replaced concurrently.
    """
    if not requested and not viewer.csrf_token:
        return None
    token = new_token()
    is_unchanged = (
        Session.id == viewer.row.session_id,
        Session.token_hash == viewer.row.token_hash,
        Session.ended_at.is_(None),
    )
    if execute_in_session(sa.update(Session).where(*is_unchanged).values(token_hash=hash_token(token))) != 1:
        db.session.rollback()
        raise NotSignedIn(presented=True)
    audit.record_event("session_token_renewed", viewer.account_id, session=viewer.row.session_id)
    return token


def _is_valid_code(account_id: str, body: ReauthenticationInput, now: datetime) -> bool:
    if "totp" in body:
        return second_factor.consume_totp(account_id, body["totp"], now) is not None
    is_consumed = MailedToken.consume(CODE_KIND, hash_token(f"{account_id}:{body['email_code']}"), now) is not None
    db.session.commit()
    return is_consumed
