"""Closing of accounts: access ends at once, the account can be restored for a grace period, and is then erased."""

from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from streamsvc.models import Account, MailedToken
from streamsvc.models.subscriptions import Subscription
from streamsvc.operations.accounts import personal_data
from streamsvc.operations.billing.core import customers, voiding
from streamsvc.operations.billing.core.aggregate import load_locked
from streamsvc.operations.billing.gifts import delivery
from streamsvc.operations.billing.subscriptions import changes
from streamsvc.operations.credentials import mailed_tokens, revocation, sessions, trusted_devices
from streamsvc.operations.credentials.access_revocation import UNDO_TOKEN_KINDS, mark_unproven_links
from streamsvc.operations.outbox import audit, mail, security_events
from streamsvc.rules.billing.access import LIVE_STATUSES
from streamsvc.rules.billing.inputs import CancellationInput
from streamsvc.rules.emails import email_key
from streamsvc.rules.refusals.accounts import EmailTaken, TokenInvalid
from streamsvc.rules.sign_in.mailed_tokens import MAILED_TOKEN_LIFETIMES
from streamsvc.settings import current_settings
from streamsvc.storage.database import db, lock_existing_row
from streamsvc.worker import jobs

KEPT_TOKEN_KINDS = {*UNDO_TOKEN_KINDS, "account_recovery", "recovery_notice"}
"""Kinds of mailed tokens that return an account to its owner: an intruder could close it to get rid of them."""
TOKEN_KIND = "account_restoration"
ERASURE_JOB = "accounts.erase"


def close_account(account_id: str, now: datetime, actor: str | None = None) -> None:
    """Close the account, in the caller's transaction. `actor` is the operator, unless its owner closes it.

    Raises PaymentInProgress while a change's payment is pending.

    The email address becomes available to others; only the mailed restoration token still holds it. The owner of a
    previous address can restore the account as well, as long as they can undo its change.
    """
    grace_period = timedelta(days=current_settings().deletion_grace_days)
    account = lock_existing_row(Account, account_id)
    email, was_verified = account.email, account.email_verified
    _end_access(account, now)
    audit.record_event("account_closed", account_id, actor=actor)
    if not grace_period:
        _erase(account_id, email, now)
        mail.enqueue_mail("account_deleted", email, now)
        return
    account.erase_at = now + grace_period
    security_events.publish_account_deleted(account_id, account.erase_at)
    expires_at = account.erase_at
    mail.enqueue_token_mail(
        TOKEN_KIND, email, account_id, now, expires_at, revoke_previous=True, was_verified=was_verified
    )
    jobs.enqueue_job(ERASURE_JOB, {"account_id": account_id}, account.erase_at)


def erase_account(account_id: str, now: datetime) -> None:
    """Close and erase an account without a grace period or a mail, in the caller's transaction.

    It had been erased before a backup brought it back. Raises PaymentInProgress while a change's payment is pending.
    """
    account = lock_existing_row(Account, account_id)
    email = account.email
    if account.status != "deleted":
        _end_access(account, now)
    MailedToken.revoke_all(account_id, now)
    _erase(account_id, email, now)


def _end_access(account: Account, now: datetime) -> None:
    """End what an account has access to, and free its address."""
    account_id = account.id
    _cancel_subscriptions(account_id, now)
    sessions.end_sessions(account_id, now, "account_closed")
    MailedToken.revoke_all(account_id, now, *(MAILED_TOKEN_LIFETIMES.keys() - KEPT_TOKEN_KINDS))
    revocation.deny_pending_device_codes(account_id)
    trusted_devices.revoke_device_trust(account_id)
    mark_unproven_links(account)
    is_disabled = account.status == "disabled"
    account.restored_status = account.status
    account.status, account.status_reason = "deleted", account.status_reason if is_disabled else None
    account.email = account.email_key = f"{account_id}@deleted.invalid"
    account.email_verified_at = None


def _erase(account_id: str, email: str | None, now: datetime) -> None:
    delivery.deliver_scheduled_gifts(account_id, now)
    customers.erase_customer(account_id, now)
    personal_data.erase_personal_data(account_id, email, now)


def restore_account(token: str, now: datetime) -> None:
    """Restore a closed account under its address, in the caller's transaction. Raises TokenInvalid, EmailTaken.

    A disabled account is disabled again, and an address that was unverified is unverified again.
    """
    mailed_token = mailed_tokens.consume_mailed_token(token, now, TOKEN_KIND)
    if mailed_token is None:
        raise TokenInvalid
    account = lock_existing_row(Account, mailed_token.owner_id)
    if account.erase_at is None:
        raise TokenInvalid
    email = mailed_token.email
    account.status, account.restored_status, account.erase_at = account.restored_status or "active", None, None
    was_verified = mailed_token.data.get("was_verified", True)
    account.email, account.email_key, account.email_verified_at = email, email_key(email), now if was_verified else None
    try:
        db.session.flush()
    except IntegrityError:
        db.session.rollback()
        raise EmailTaken(
            detail="Another account has this email address now. Delete that account first, then restore this one."
        ) from None
    audit.record_event("account_restored", account.id)
    security_events.publish_account_recovered(account.id, "account_restored")


@jobs.job_handler(ERASURE_JOB, jobs.BULK_LANE)
def erase_closed_account(payload: dict, now: datetime) -> None:
    """Erase an account whose grace period is over, unless it was restored."""
    account = lock_existing_row(Account, payload["account_id"])
    if account.erase_at is None or account.erase_at > now:
        return
    email = db.session.scalar(
        sa.select(MailedToken.email).where(MailedToken.account_id == account.id, MailedToken.kind == TOKEN_KIND)
    )
    _cancel_subscriptions(account.id, now)
    _erase(account.id, email, now)


def _cancel_subscriptions(account_id: str, now: datetime) -> None:
    live = sa.select(Subscription.id).where(
        Subscription.account_id == account_id, Subscription.status.in_(LIVE_STATUSES)
    )
    cancellation: CancellationInput = {
        "when": "now",
        "effective_date": None,
        "credit": "none",
        "reason": "account deleted",
        "feedback": None,
    }
    for subscription_id in db.session.scalars(live):
        aggregate = load_locked(subscription_id, now)
        voiding.revert_unpaid_changes(aggregate)
        changes.cancel_subscription(aggregate, cancellation, account_id)
        aggregate.save_projection()
