"""Sign-in by password, and the session that every sign-in method creates.

An unknown email, a wrong password, a disabled account and an account without a password cost the same statements and
one hash each, and get the same response.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from streamsvc.models import Account, Device, Phone, RecoveryCode, Session, TotpFactor, Username
from streamsvc.operations.accounts import guests
from streamsvc.operations.accounts.accounts import can_sign_in
from streamsvc.operations.credentials import sessions, trusted_devices
from streamsvc.operations.credentials.attempts import SignInAttempt
from streamsvc.operations.outbox import audit, mail, security_events
from streamsvc.operations.sign_in import device_matching, new_device_notices, travel
from streamsvc.operations.sign_in.identifiers import parse_identifier
from streamsvc.rules.refusals.accounts import InvalidCredentials
from streamsvc.rules.request_facts import RequestFacts
from streamsvc.rules.sign_in.sessions import SESSION_LIFETIMES, session_lifetime_name
from streamsvc.security import password_hashing
from streamsvc.storage.chunked_writes import delete_in_chunks
from streamsvc.storage.database import (
    db,
    execute_write,
    fetch_existing,
    fetch_one,
    lock_existing_row,
    lock_row,
)

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
ACCOUNT_BY_EMAIL = ACCOUNT_QUERY.where(Account.email_key == sa.bindparam("key"))
ACCOUNT_BY_IDENTIFIER = {
    "email": ACCOUNT_BY_EMAIL,
    "username": ACCOUNT_QUERY.join(Username, Username.account_id == Account.id).where(
        Username.username == sa.bindparam("key")
    ),
    "phone": ACCOUNT_QUERY.join(Phone, Phone.account_id == Account.id).where(Phone.number == sa.bindparam("key")),
}
ACCOUNT_BY_ID = ACCOUNT_QUERY.where(Account.id == sa.bindparam("account_id"))

IDENTIFIER_NOUNS = {"email": "email", "username": "username", "phone": "telephone number"}
SESSION_RETENTION = max(lifetime.absolute for lifetime in SESSION_LIFETIMES.values()) + timedelta(days=35)
"""The longest lifetime of a session, plus the month for which flows that it started are kept."""


@dataclass(frozen=True)
class VerifiedPassword:
    """A successful password check: the account's row, its current hash, and whether it knows the device."""

    account: sa.Row
    password_hash: str
    is_known_device: bool


def verify_sign_in_password(
    identifier: str, password: str, device_id: str | None, facts: RequestFacts, challenge_token: str | None = None
) -> VerifiedPassword:
    """Verify an identifier and a password. `challenge_token` proves the challenge that a 429 response asked for.

    Raises InvalidCredentials, TooManyAttempts; Unavailable if the hashing queue is full.
    """
    named = parse_identifier(identifier)
    account = fetch_one(ACCOUNT_BY_IDENTIFIER[named.kind], {"key": named.key, "device_id": device_id or ""})
    known_device = account.device_id if account else None
    attempt = SignInAttempt(named.rate_limit_subject, known_device, facts, challenge_token)
    is_match = attempt.verify_password(account.password_hash if account else None, password)
    if not (is_match and account and can_sign_in(account)):
        attempt.record_failure(account.id if account else None)
        raise invalid_credentials(identifier)
    attempt.record_success()
    return VerifiedPassword(account, _rehash_if_outdated(account, password), known_device is not None)


def invalid_credentials(identifier: str) -> InvalidCredentials:
    """Return the error for a wrong password, which names what the identifier is by its form."""
    noun = IDENTIFIER_NOUNS[parse_identifier(identifier).kind]
    return InvalidCredentials(detail=f"The {noun} or password is incorrect.")


def _rehash_if_outdated(account: sa.Row, password: str) -> str:
    """Return the account's current hash, replaced first if it comes from another system or was made at other costs.

    A password that was changed in the meantime is not overwritten.
    """
    if not password_hashing.needs_rehash(account.password_hash):
        return account.password_hash
    new_hash = password_hashing.hash_password(password, known_device=account.device_id is not None)
    is_unchanged = (Account.id == account.id, Account.password_hash == account.password_hash)
    is_replaced = execute_write(sa.update(Account).where(*is_unchanged).values(password_hash=new_hash))
    return new_hash if is_replaced else account.password_hash


def load_sign_in_account(account_id: str, device_id: str | None) -> sa.Row:
    """Load the row that `verify_password` uses, for a sign-in by another method."""
    return fetch_existing(ACCOUNT_BY_ID, {"account_id": account_id, "device_id": device_id or ""})


def create_session(
    account_id: str,
    device: Mapping[str, Any] | None,
    remember: bool,
    token: str,
    facts: RequestFacts,
    now: datetime,
    notify: bool,
    method: str = "password",
    authenticated_at: datetime | None = None,
    second_factor: str | None = None,
    added_by_session_id: str | None = None,
) -> Session:
    """Create a session with the hash of `token`, in the caller's transaction.

    `device` is {id, name, kind}; without an id that the account knows, it may be one found by `device_matching`, else a
    new one. The owner is notified if `notify`, unless the device is known for certain. `authenticated_at`, when the
    owner authenticated, defaults to now. `second_factor` is the method of the second factor that was given, and
    `added_by_session_id` the session that approved a television. What the guest of `facts` saved moves into the
    account.
    """
    if facts.guest:
        lock_row(Account, account_id)  # before the device, whose lock comes after that of the account
    device_row, is_new_device = _find_or_create_device(account_id, device, facts, now, second_factor)
    if is_new_device and notify:
        new_device_notices.enqueue_new_device_mail(account_id, device_row, facts, now)
    if second_factor == trusted_devices.TRUSTED_DEVICE:
        authenticated_at = trusted_devices.lock_second_factor_time(device_row.id)
    device_row.last_seen_at = now
    lifetime = session_lifetime_name(device_row.kind, remember)
    session = sessions.add_session(
        device_row, lifetime, token, facts, now, authenticated_at or now, method, added_by_session_id
    )
    if facts.guest:
        guests.move_guest(facts.guest, session, now)
    security_events.publish_session_started(session, method, device_row.kind, is_new_device)
    travel.flag_impossible_travel(session, device_row.name, now)
    details = {"session": session.id, "device": device_row.id, "method": method, "second": second_factor}
    audit.record_event("authn_login_success", account_id, **details)
    if second_factor == "recovery_code":
        left = sa.select(sa.func.count()).where(RecoveryCode.account_id == account_id, RecoveryCode.used_at.is_(None))
        email = db.session.get_one(Account, account_id).email
        mail.enqueue_mail("recovery_code_used", email, now, left=db.session.scalar(left))
    return session


def _find_or_create_device(
    account_id: str, described: Mapping[str, Any] | None, facts: RequestFacts, now: datetime, second_factor: str | None
) -> tuple[Device, bool]:
    """Return the row of the device, and whether the account does not know it for certain.

    No other device than the named one is found for a trusted device, whose trust replaces a second factor.
    """
    named_id = (described or {}).get("id")
    if named_id and (device := Device.find_owned(account_id, named_id)):
        return device, False
    if second_factor != trusted_devices.TRUSTED_DEVICE and (
        match := device_matching.find_device(account_id, described, facts, now)
    ):
        return match.device, not match.is_proved
    values = {"name": device_matching.UNNAMED_DEVICE, "kind": "other", **(described or {})}
    device = Device(account_id=account_id, name=values["name"], kind=values["kind"])
    device.created_at = device.last_seen_at = now
    db.session.add(device)
    db.session.flush()
    return device, True


def purge_old_sessions(now: datetime) -> None:
    """Delete sessions past `SESSION_RETENTION`, with their addresses, in chunks."""
    delete_in_chunks(Session.id, Session.created_at < now - SESSION_RETENTION)


def lock_and_recheck_password(verified: VerifiedPassword) -> bool:
    """Lock the account, and check that it can still sign in with the password that was verified."""
    account = lock_existing_row(Account, verified.account.id)
    return account.password_hash == verified.password_hash and can_sign_in(account)
