"""Changes of an account's email address: the new address confirms; the old one is notified and can undo for a week."""

from datetime import datetime

from sqlalchemy.exc import IntegrityError

from streamsvc.models import Account, MailedToken, Session
from streamsvc.operations.accounts import accounts
from streamsvc.operations.billing.core import customers
from streamsvc.operations.credentials import access_history, revocation
from streamsvc.operations.credentials.access_revocation import mark_unproven_links
from streamsvc.operations.credentials.mail_limits import hit_mail_limits
from streamsvc.operations.outbox import audit, mail, security_events
from streamsvc.rules.emails import canonical_email, email_key
from streamsvc.rules.refusals.accounts import EmailTaken, TokenInvalid
from streamsvc.rules.request_facts import RequestFacts
from streamsvc.storage.database import db, lock_existing_row


def start_email_change(account_id: str, session_id: str, email: str, facts: RequestFacts, now: datetime) -> None:
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
    mail.enqueue_token_mail("email_change", address, account_id, now, session_id=session_id)
    mail.enqueue_token_mail("email_undo", account.email, account_id, now, session_id=session_id)
    audit.record_event("email_change_asked", account_id)


def complete_email_change(mailed_token: MailedToken, now: datetime) -> None:
    """Give the account its new address and cancel pending sign-ins.

    Raises EmailTaken; TokenInvalid if the session that requested the change was ended since.
    """
    account, session_id = lock_existing_row(Account, mailed_token.owner_id), mailed_token.data.get("session_id")
    if Session.is_ended(session_id):
        raise TokenInvalid
    accounts.refuse_look_alike(mailed_token.email, account.id)
    mark_unproven_links(account)
    access_history.record_credential_change(account.id, "email", now, session_id, account.email)
    _set_email(account, mailed_token.email, now)
    MailedToken.revoke_all(account.id, now, "email_verification")
    revocation.cancel_pending_sign_ins(account.id, now)
    mail.enqueue_mail("email_changed", mailed_token.email, now, email=mailed_token.email)
    audit.record_event("email_changed", account.id)
    security_events.publish_email_changed(account.id)


def _set_email(account: Account, email: str, now: datetime) -> None:
    """Set and verify the address. Raises EmailTaken, which the unique index decides."""
    account.email, account.email_key, account.email_verified_at = email, email_key(email), now
    try:
        db.session.flush()
    except IntegrityError:
        db.session.rollback()
        raise EmailTaken from None
    customers.enqueue_customer_update(account.id, now)
