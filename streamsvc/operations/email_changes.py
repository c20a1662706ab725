"""Another e-mail address: the new one confirms, the old one is told and may take it back for a week."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from streamsvc.database import db, lock
from streamsvc.models import Account, Identity, Passkey, Proof, Session
from streamsvc.operations import audit, mail
from streamsvc.rules.emails import email_key, shown
from streamsvc.rules.refusals import EmailTaken


def ask(account_id: str, email: str, now: datetime) -> None:
    """Write to both addresses. Whether the new one is taken is told to nobody but who reads its mail."""
    account = lock(Account, account_id)
    mail.post_proof("email_change", shown(email), account_id, now)
    mail.post_proof("email_undo", account.email, account_id, now)
    audit.record("email_change_asked", account_id)


def confirm(proof: Proof, now: datetime) -> None:
    """The account has the new address from now on. Raises EmailTaken."""
    account = lock(Account, proof.account_id)
    _set(account, proof.email, now)
    Proof.withdraw(
        account.id, now, "password_reset", "email_verification", "magic_link", "sign_in_code", "reauthentication_code"
    )
    mail.post("email_changed", proof.email, now, email=proof.email)
    audit.record("email_changed", account.id)


def undo(proof: Proof, now: datetime) -> None:
    """The account has its old address back, nobody is signed in, and the owner can set a new password by mail.

    Passkeys and identities go, too: who was in the account may have added one to come back with.
    """
    account = lock(Account, proof.account_id)
    _set(account, proof.email, now)
    Proof.withdraw(account.id, now)
    Session.end_all(account.id, now)
    for way_in in (Passkey, Identity):
        db.session.execute(sa.delete(way_in).where(way_in.account_id == account.id))
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
