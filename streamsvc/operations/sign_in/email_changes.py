"""Changes of an account's email address: the new address confirms; the old one is notified and can undo for a week."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from streamsvc.models import Account, MailedToken
from streamsvc.operations.accounts import accounts
from streamsvc.operations.billing.core import customers
from streamsvc.operations.credentials import revocation, sessions
from streamsvc.operations.credentials.mail_limits import hit_mail_limits
from streamsvc.operations.outbox import audit, mail, security_events
from streamsvc.rules.emails import canonical_email, email_key
from streamsvc.rules.refusals.accounts import EmailTaken
from streamsvc.rules.request_facts import RequestFacts
from streamsvc.storage.database import db, lock_existing_row


def start_email_change(account_id: str, email: str, facts: RequestFacts, now: datetime) -> None:
    """Mail a confirmation link to the new address and an undo link to the old one.

    Whether the new address is taken shows only in its confirmation. Links of a change to another address are revoked:
    it may have been mistyped. Raises Invalid; TooManyAttempts, to protect both mailboxes.
    """
    accounts.check_new_email(email)
    for subject in (f"email_change {email_key(email)}", f"email_change {account_id}"):
        hit_mail_limits(subject, facts)
    account = lock_existing_row(Account, account_id)
    address = canonical_email(email)
    is_other_change = (MailedToken.kind == "email_change", MailedToken.email != address)
    MailedToken.revoke_matching(account_id, now, *is_other_change)
    mail.enqueue_token_mail("email_change", address, account_id, now)
    mail.enqueue_token_mail("email_undo", account.email, account_id, now)
    audit.record_event("email_change_asked", account_id)


def complete_email_change(mailed_token: MailedToken, now: datetime) -> None:
    """Give the account its new address and cancel pending sign-ins. Raises EmailTaken."""
    account = lock_existing_row(Account, mailed_token.owner_id)
    accounts.refuse_look_alike(mailed_token.email, account.id)
    _set_email(account, mailed_token.email, now)
    MailedToken.revoke_all(account.id, now, "email_verification")
    revocation.cancel_pending_sign_ins(account.id, now)
    mail.enqueue_mail("email_changed", mailed_token.email, now, email=mailed_token.email)
    audit.record_event("email_changed", account.id)
    security_events.publish_email_changed(account.id)


def undo_email_change(mailed_token: MailedToken, now: datetime) -> None:
    """Restore the old address, end all sessions, and mail a password reset to the owner.

    An intruder may have added credentials, so the password is cleared, and passkeys, identities and an authenticator
    added since the change are revoked. Newer mailed tokens are revoked too; older undo tokens stay valid, so that of
    competing claims the earliest address wins. Raises EmailTaken.
    """
    account = lock_existing_row(Account, mailed_token.owner_id)
    _set_email(account, mailed_token.email, now)
    account.password_hash = None
    revocation.cancel_pending_sign_ins(account.id, now)
    revocation.revoke_passkeys_and_identities(account.id)
    revocation.revoke_authenticator(account.id, since=mailed_token.created_at)
    is_newer = (MailedToken.account_id == account.id, MailedToken.used_at.is_(None), MailedToken.id > mailed_token.id)
    db.session.execute(sa.update(MailedToken).where(*is_newer).values(used_at=now))
    sessions.end_sessions(account.id, now, "email_change_undone")
    if account.status == "deleted":
        account.status, account.erase_at = "active", None
        audit.record_event("account_restored", account.id)
    mail.enqueue_token_mail("password_reset", mailed_token.email, account.id, now)
    audit.record_event("email_change_undone", account.id)
    security_events.publish_email_changed(account.id, is_undone=True)
    security_events.publish_password_changed(account.id, "cleared")
    security_events.publish_account_recovered(account.id, "email_change_undone")


def _set_email(account: Account, email: str, now: datetime) -> None:
    """Set and verify the address. Raises EmailTaken, which the unique index decides."""
    account.email, account.email_key, account.email_verified_at = email, email_key(email), now
    try:
        db.session.flush()
    except IntegrityError:
        db.session.rollback()
        raise EmailTaken from None
    customers.enqueue_customer_update(account.id, now)
