"""Sign-in identifiers: the email address of an account, and its username and telephone number if it has them.

An identifier only finds the account. Each has a back-off of its own: one that they shared would reveal, by attempts
that fail, which of them belong together.
"""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from streamsvc.models import Account, Phone, PhoneVerification, Username
from streamsvc.operations.outbox import audit, mail
from streamsvc.rules.emails import email_key
from streamsvc.rules.refusals.accounts import UsernameTaken
from streamsvc.rules.refusals.requests import Invalid, NotFound
from streamsvc.rules.sign_in.phones import strip_separators
from streamsvc.security import identifiers as forms
from streamsvc.settings import current_settings
from streamsvc.storage.database import db, lock_existing_row

NO_MATCH = ""
"""A key that no account has: an identifier that cannot exist costs the same statement as one that does not."""


@dataclass(frozen=True)
class SignInIdentifier:
    """What a sign-in names its account by."""

    kind: str
    """email, username or phone"""
    key: str
    """The form that is compared, or NO_MATCH."""
    rate_limit_subject: str
    """What its failed attempts are counted by, whether or not it exists."""


def parse_identifier(text: str) -> SignInIdentifier:
    """Tell an email address, a telephone number and a username apart by their form, and normalize it."""
    if "@" in text:
        key = email_key(text)
        return SignInIdentifier("email", key, key)
    is_phone = strip_separators(text)[:1] == "+"
    kind, is_enabled = ("phone", current_settings().phones) if is_phone else ("username", current_settings().usernames)
    key = NO_MATCH
    if is_enabled:
        try:
            key = forms.normalize_phone(text)[0] if is_phone else forms.normalize_username(text)
        except forms.IdentifierInvalid:
            key = NO_MATCH
    return SignInIdentifier(kind, key, f"{kind} {key or text.casefold()}")


def list_rate_limit_subjects(account: Account) -> list[str]:
    """Return what failed sign-ins of the account are counted by, one per identifier."""
    username, phone = db.session.get(Username, account.id), db.session.get(Phone, account.id)
    subjects = [account.email_key]
    subjects += [f"username {username.username}"] if username else []
    subjects += [f"phone {phone.number}"] if phone else []
    return subjects


def identifiers_view(account_id: str, email: str, now: datetime) -> dict:
    """Return the JSON of `Identifiers`."""
    pending = sa.select(PhoneVerification.number).where(
        PhoneVerification.account_id == account_id, PhoneVerification.expires_at > now
    )
    return {
        "email": email,
        "username": db.session.scalar(sa.select(Username.username).where(Username.account_id == account_id)),
        "phone": db.session.scalar(sa.select(Phone.number).where(Phone.account_id == account_id)),
        "pending_phone": db.session.scalar(pending),
    }


def set_username(account_id: str, session_id: str, text: str, now: datetime) -> None:
    """Set or change the username, in the caller's transaction. Raises NotFound, Invalid, UsernameTaken.

    A reserved name is refused like one that is taken: so are names that look like either.
    """
    if not current_settings().usernames:
        raise NotFound
    try:
        username = forms.normalize_username(text)
    except forms.IdentifierInvalid as error:
        raise Invalid(errors={"username": [str(error)]}) from None
    if forms.is_reserved_username(username):
        raise UsernameTaken
    account = lock_existing_row(Account, account_id)
    row = db.session.get(Username, account_id)
    if row is not None and row.username == username:
        return
    if row is None:
        row = Username(account_id=account_id)
        db.session.add(row)
    row.username, row.skeleton = username, forms.username_skeleton(username)
    row.set_at, row.added_by_session_id = now, session_id
    try:
        db.session.flush()
    except IntegrityError:
        db.session.rollback()
        raise UsernameTaken from None
    audit.record_event("username_set", account_id, username=username)
    mail.enqueue_mail("identifier_changed", account.email, now, change=f"The username {username} was set")


def remove_username(account_id: str, now: datetime) -> None:
    """Remove the username, in the caller's transaction. Raises NotFound."""
    account = lock_existing_row(Account, account_id)
    row = db.session.get(Username, account_id)
    if row is None:
        raise NotFound
    db.session.delete(row)
    audit.record_event("username_removed", account_id, username=row.username)
    mail.enqueue_mail("identifier_changed", account.email, now, change=f"The username {row.username} was removed")
