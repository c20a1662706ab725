"""Another e-mail address: the new one confirms, the old one is told and may take it back for a week."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from streamsvc.models import Account, Proof, Session
from streamsvc.operations.credentials import revocation
from streamsvc.operations.credentials.attempts import count_mail
from streamsvc.operations.outbox import audit, mail
from streamsvc.rules import rate_limits as limits
from streamsvc.rules.emails import email_key, shown
from streamsvc.rules.refusals.accounts import EmailTaken
from streamsvc.storage.database import db, lock


def ask(account_id: str, email: str, now: datetime) -> None:
    """Write to both addresses. Whether the new one is taken is told to nobody but who reads its mail.

    Raises TooManyAttempts, so that no mailbox is flooded: neither the new one nor the account's own.
    """
    for subject in (f"email_change {email_key(email)}", f"email_change {account_id}"):
        count_mail(limits.MAIL_TO_ADDRESS, subject)
    account = lock(Account, account_id)
    mail.post_proof("email_change", shown(email), account_id, now)
    mail.post_proof("email_undo", account.email, account_id, now, replaces=False)
    audit.record("email_change_asked", account_id)


def confirm(proof: Proof, now: datetime) -> None:
    """The account has the new address from now on. Raises EmailTaken."""
    account = lock(Account, proof.account_id)
    _set(account, proof.email, now)
    Proof.withdraw(account.id, now, "email_verification")
    revocation.stop_what_is_begun(account.id, now)
    mail.post("email_changed", proof.email, now, email=proof.email)
    audit.record("email_changed", account.id)


def undo(proof: Proof, now: datetime) -> None:
    """The account has its old address back, nobody is signed in, and the owner can set a new password by mail.

    Who was in the account may have left a way to come back: the password opens nothing any more, passkeys and
    identities go, and so does an authenticator that was added meanwhile. An older undo still stands: of two who say
    that the account is theirs, the one who had it first is believed.
    """
    account = lock(Account, proof.account_id)
    _set(account, proof.email, now)
    account.password_hash = None
    revocation.stop_what_is_begun(account.id, now)
    revocation.take_away(account.id)
    revocation.take_away_authenticator(account.id, since=proof.created_at)
    later = (Proof.account_id == account.id, Proof.used_at.is_(None), Proof.id > proof.id)
    db.session.execute(sa.update(Proof).where(*later).values(used_at=now))
    Session.end_all(account.id, now)
    if account.status == "deleted":
        account.status, account.erase_at = "active", None
        audit.record("account_restored", account.id)
    mail.post_proof("password_reset", proof.email, account.id, now)
    audit.record("email_change_undone", account.id)


def _set(account: Account, email: str, now: datetime) -> None:
    """Set the address; the unique index decides who has it."""
    account.email, account.email_key, account.email_verified_at = email, email_key(email), now
    try:
        db.session.flush()
    except IntegrityError:
        db.session.rollback()
        raise EmailTaken from None
