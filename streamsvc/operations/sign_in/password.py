"""Sign-in by password, in the same steps whoever is asked for: look, count, hash, tell.

An unknown e-mail, a wrong password, a disabled account and one without a password cost the same statements and the
same one hash, and hear the same words.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from flask import current_app, request

from streamsvc.http import trusted_proxies
from streamsvc.models import Account, Device, Profile, RecoveryCode, Session, TotpFactor
from streamsvc.operations.accounts.accounts import can_sign_in
from streamsvc.operations.credentials import trusted_devices
from streamsvc.operations.credentials.attempts import SignInAttempt
from streamsvc.operations.outbox import audit, mail
from streamsvc.operations.sign_in import new_device_notices
from streamsvc.rules.emails import email_key
from streamsvc.rules.refusals.accounts import InvalidCredentials
from streamsvc.rules.sign_in.sessions import SESSION_LIFETIMES, hash_token, session_lifetime_name
from streamsvc.security import password_hashing
from streamsvc.storage.database import db, execute_write, fetch_one, lock_row

ACCOUNT_QUERY = (
    sa.select(
        Account.id,
        Account.email,
        Account.password_hash,
        Account.status,
        Account.email_verified_at,
        Device.id.label("device_id"),
        (TotpFactor.confirmed_at.is_not(None)).label("has_totp"),
    )
    .outerjoin(
        Device,
        sa.and_(Device.account_id == Account.id, Device.id == sa.bindparam("device_id"), Device.removed_at.is_(None)),
    )
    .outerjoin(TotpFactor, TotpFactor.account_id == Account.id)
)
ACCOUNT_BY_EMAIL = ACCOUNT_QUERY.where(Account.email_key == sa.bindparam("email_key"))
ACCOUNT_BY_ID = ACCOUNT_QUERY.where(Account.id == sa.bindparam("account_id"))


@dataclass(frozen=True)
class VerifiedPassword:
    """Somebody who knew the password: the account's row, its hash now, and whether it knows the device."""

    account: sa.Row
    password_hash: str
    is_known_device: bool


def verify_password(
    email: str, password: str, device_id: str | None, challenge_token: str | None = None
) -> VerifiedPassword:
    """`challenge`: what solves the one that a 429 asked for.

    Raises InvalidCredentials, TooManyAttempts, or Unavailable where too many ask at once.
    """
    key = email_key(email)
    found = fetch_one(ACCOUNT_BY_EMAIL, {"email_key": key, "device_id": device_id or ""})
    known_device = found.device_id if found else None
    attempt = SignInAttempt(key, known_device, challenge_token)
    right = attempt.verify_password(found.password_hash if found else None, password)
    if not (right and found and can_sign_in(found)):
        attempt.record_failure(found.id if found else None)
        raise InvalidCredentials
    attempt.record_success()
    return VerifiedPassword(found, _rehash_if_outdated(found, password), known_device is not None)


def _rehash_if_outdated(account: sa.Row, password: str) -> str:
    """The account's hash, made anew where it was made by another system or at other costs.

    Only if it still is what was proved: a password that was changed meanwhile is not set back.
    """
    if not password_hashing.needs_rehash(account.password_hash):
        return account.password_hash
    fresh = password_hashing.hash_password(password, known_device=account.device_id is not None)
    still = (Account.id == account.id, Account.password_hash == account.password_hash)
    return (
        fresh if execute_write(sa.update(Account).where(*still).values(password_hash=fresh)) else account.password_hash
    )


def load_sign_in_account(account_id: str, device_id: str | None) -> sa.Row:
    """Who is about to sign in by something other than a password, as `by_password` sees them."""
    return fetch_one(ACCOUNT_BY_ID, {"account_id": account_id, "device_id": device_id or ""})


def create_session(
    account_id: str,
    device: dict | None,
    remember: bool,
    token: str,
    now: datetime,
    notify: bool,
    method: str = "password",
    authenticated_at: datetime | None = None,
    second_factor: str | None = None,
) -> Session:
    """A session under `token` on the given device, in the caller's unit of work; `notify` tells the owner of a new one.

    `device` is {id, name, kind}; an id that the account does not know makes a new device. `proved_at`: when the owner
    proved who they are; now, unless told. `second`: by what they proved it once more.
    """
    asked = {"id": None, "name": "Unnamed device", "kind": "other"} | (device or {})
    kept = Device.of(account_id, asked["id"]) if asked["id"] else None
    if kept is None:
        kept = Device(account_id=account_id, name=asked["name"], kind=asked["kind"], created_at=now, last_seen_at=now)
        db.session.add(kept)
        db.session.flush()
        if notify:
            new_device_notices.enqueue_new_device_mail(account_id, kept, now)
    if second_factor == trusted_devices.TRUSTED_DEVICE:
        authenticated_at = trusted_devices.lock_second_factor_time(kept.id)
    kept.last_seen_at = now
    session = Session(
        account_id=account_id,
        device_id=kept.id,
        profile_id=Profile.find_default_id(account_id),
        token_hash=hash_token(token),
        lifetime=session_lifetime_name(kept.kind, remember),
        epoch=current_app.extensions["settings"].session_epoch,
        created_at=now,
        authenticated_at=authenticated_at or now,
        last_seen_at=now,
        address=request.remote_addr,
        city=trusted_proxies.client_city(),
        user_agent=request.headers.get("User-Agent", "")[:300],
    )
    db.session.add(session)
    db.session.flush()
    audit.record_event(
        "authn_login_success", account_id, session=session.id, device=kept.id, method=method, second=second_factor
    )
    if second_factor == "recovery_code":
        left = sa.select(sa.func.count()).where(RecoveryCode.account_id == account_id, RecoveryCode.used_at.is_(None))
        to = db.session.get(Account, account_id).email
        mail.enqueue_mail("recovery_code_used", to, now, left=db.session.scalar(left))
    return session


def purge_old_sessions(now: datetime) -> None:
    """Drop sessions that had to end long ago, and with them where they came from; in the caller's unit of work."""
    oldest = sa.select(Session.id).order_by(Session.id).limit(PURGE_BATCH_SIZE)
    forgetting = sa.delete(Session).where(Session.id.in_(oldest), Session.created_at < now - SESSION_RETENTION)
    while db.session.execute(forgetting).rowcount == PURGE_BATCH_SIZE:
        continue


SESSION_RETENTION = max(life.absolute for life in SESSION_LIFETIMES.values()) + timedelta(days=35)
"""After the longest life of a session the month in which what it began is kept, too."""
PURGE_BATCH_SIZE = 1_000


def lock_and_recheck_password(verified: VerifiedPassword) -> bool:
    """Lock the account and look whether it may still sign in with the password that was just proved."""
    account = lock_row(Account, verified.account.id)
    return account.password_hash == verified.password_hash and can_sign_in(account)
