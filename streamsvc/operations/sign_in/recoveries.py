"""Recoveries that support starts: for owners whom no link in a mail reaches any more.

Support can start one and cancel it, but not finish it. All known addresses are notified at once. After a waiting time,
the address that the account had at the moment of the takeover gets a link by which its owner sets a password and
revokes everything that was added since. Until then any live session, and the link in the notices, can cancel.
"""

from datetime import datetime, timedelta

import sqlalchemy as sa

from streamsvc.models import Account, AccountRecovery, MailedToken, Session
from streamsvc.operations.credentials import access_history, access_revocation, mailed_tokens
from streamsvc.operations.outbox import audit, mail
from streamsvc.operations.sign_in import access_links, password_changes
from streamsvc.rules.emails import email_key
from streamsvc.rules.refusals.accounts import AccountNotActive, EmailTaken, RecoveryPending, SessionTooNew, TokenInvalid
from streamsvc.rules.refusals.requests import Invalid, NotFound
from streamsvc.rules.sign_in.inputs import RecoveryInput
from streamsvc.rules.sign_in.mailed_tokens import MAILED_TOKEN_LIFETIMES
from streamsvc.settings import current_settings
from streamsvc.storage.database import db, lock_existing_row, lock_row
from streamsvc.worker import jobs

NOTICE_KIND, FINISH_KIND = "recovery_notice", "account_recovery"


def start_recovery(account_id: str, body: RecoveryInput, operator_id: str, now: datetime) -> AccountRecovery:
    """Start a recovery and notify all known addresses, in the caller's transaction.

    A deleted account is not erased before the recovery expires. Raises NotFound, Invalid, AccountNotActive,
    RecoveryPending.
    """
    account, since = lock_row(Account, account_id), body["since"]
    if account is None or (account.status == "deleted" and account.erase_at is None):
        raise NotFound
    if "disabled" in (account.status, account.restored_status):
        raise AccountNotActive(detail="This account is disabled; enable it before you start a recovery.")
    if since and since > now:
        raise Invalid(errors={"since": ["Must not be in the future."]})
    if body["only_older_can_cancel"] and since is None:
        raise Invalid(errors={"since": ["Required with only_older_can_cancel."]})
    _cancel_expired(account_id, now)
    if AccountRecovery.find_pending(account_id):
        raise RecoveryPending
    current_email = _find_current_email(account)
    ready_at = now + timedelta(hours=current_settings().recovery_wait_hours)
    recovery = AccountRecovery(account_id=account_id, started_by=operator_id, reason=body["reason"], since=since)
    recovery.email = access_history.find_email_at(account_id, current_email, since) if since else current_email
    recovery.only_older_can_cancel = body["only_older_can_cancel"]
    recovery.created_at, recovery.ready_at = now, ready_at
    recovery.expires_at = ready_at + MAILED_TOKEN_LIFETIMES[FINISH_KIND]
    db.session.add(recovery)
    db.session.flush()
    if account.erase_at and account.erase_at < recovery.expires_at:
        account.erase_at = recovery.expires_at
        jobs.enqueue_job("accounts.erase", {"account_id": account_id}, account.erase_at)
    _notify_all_addresses(recovery, current_email, now)
    jobs.enqueue_job("accounts.recovery_ready", {"recovery_id": recovery.id}, ready_at)
    audit.record_event("recovery_started", account_id, actor=operator_id, recovery=recovery.id, reason=body["reason"])
    return recovery


def _find_current_email(account: Account) -> str:
    """Return the account's address; of a deleted account, the one that it had."""
    if account.status != "deleted":
        return account.email
    is_restoration = (MailedToken.account_id == account.id, MailedToken.kind == "account_restoration")
    newest = sa.select(MailedToken.email).where(*is_restoration).order_by(MailedToken.id.desc()).limit(1)
    email = db.session.scalar(newest)
    if email is None:
        raise NotFound
    return email


def _notify_all_addresses(recovery: AccountRecovery, current_email: str, now: datetime) -> None:
    """Mail a link to cancel to every address that the account has or had.

    If only older addresses can cancel, those that are newer than the takeover get a notice without a link.
    """
    emails = {email_key(e): e for e in (*access_history.list_previous_emails(recovery.account_id), current_email)}
    context = {"ready": _format_day(recovery.ready_at)}
    for email in emails.values():
        is_older = email_key(email) == email_key(recovery.email)
        if recovery.only_older_can_cancel and not is_older:
            mail.enqueue_mail("recovery_announced", email, now, **context)
            continue
        mail.enqueue_token_mail(
            NOTICE_KIND,
            email,
            recovery.account_id,
            now,
            expires_at=recovery.expires_at,
            recovery_id=recovery.id,
            context=context,
        )


def _format_day(moment: datetime) -> str:
    return f"{moment:%B} {moment.day}, {moment.year}"


@jobs.job_handler("accounts.recovery_ready", jobs.INTERACTIVE_LANE)
def send_recovery_link(payload: dict, now: datetime) -> None:
    """Mail the link to finish with, if the waiting time is over and nobody has canceled."""
    recovery = db.session.get(AccountRecovery, payload["recovery_id"])
    if recovery is None:
        return
    account = lock_existing_row(Account, recovery.account_id)
    db.session.refresh(recovery)
    if recovery.canceled_at or recovery.completed_at or recovery.ready_at > now or account.status == "disabled":
        return
    since = _format_day(recovery.since) if recovery.since else None
    mail.enqueue_token_mail(
        FINISH_KIND,
        recovery.email,
        account.id,
        now,
        expires_at=recovery.expires_at,
        revoke_previous=True,
        recovery_id=recovery.id,
        context={"since": since},
    )


def finish_recovery(token: str, new_hash: str, now: datetime) -> None:
    """Revoke what was added since the takeover, and set the address and the password, in the caller's transaction.

    Raises TokenInvalid, EmailTaken.
    """
    mailed_token = mailed_tokens.consume_mailed_token(token, now, FINISH_KIND)
    if mailed_token is None:
        raise TokenInvalid
    account = lock_existing_row(Account, mailed_token.owner_id)
    plan = access_links.plan_revocation(mailed_token, now)
    recovery = db.session.get_one(AccountRecovery, mailed_token.data["recovery_id"])
    recovery.completed_at = now
    db.session.flush()
    access_revocation.revoke_access(account.id, plan, now, "support_recovery", revoke_links_after="")
    if not access_revocation.restore_email(account, recovery.email, now):
        db.session.rollback()
        raise EmailTaken
    password_changes.set_password(account.id, new_hash, now, kept_session_id=None)
    MailedToken.revoke_all(account.id, now, NOTICE_KIND)
    audit.record_event("account_recovered", account.id, recovery=recovery.id)


def cancel_recovery_by_link(token: str, now: datetime) -> None:
    """Cancel the recovery that a notice is about, in the caller's transaction. Raises TokenInvalid."""
    mailed_token = mailed_tokens.consume_mailed_token(token, now, NOTICE_KIND)
    if mailed_token is None:
        raise TokenInvalid
    access_revocation.cancel_recoveries(mailed_token.owner_id, now, "link")


def cancel_recovery_by_session(account_id: str, recovery_id: str, session_id: str, now: datetime) -> None:
    """Cancel a pending recovery of the session's account. Raises NotFound, SessionTooNew."""
    recovery = _lock_pending(account_id, recovery_id)
    session = db.session.get_one(Session, session_id)
    if recovery.only_older_can_cancel and recovery.since and session.created_at >= recovery.since:
        raise SessionTooNew
    access_revocation.cancel_recoveries(account_id, now, session_id)


def cancel_recovery_by_operator(account_id: str, recovery_id: str, operator_id: str, now: datetime) -> None:
    """Cancel a pending recovery for support. Raises NotFound."""
    _lock_pending(account_id, recovery_id)
    access_revocation.cancel_recoveries(account_id, now, operator_id, actor=operator_id)


def recovery_status(recovery: AccountRecovery, now: datetime) -> str:
    """Return `completed`, `canceled`, `expired`, `ready` (the link was mailed) or `waiting`."""
    if recovery.completed_at:
        return "completed"
    if recovery.canceled_at:
        return "canceled"
    if recovery.expires_at <= now:
        return "expired"
    return "ready" if recovery.ready_at <= now else "waiting"


def recovery_view(recovery: AccountRecovery, now: datetime) -> dict:
    """Return what the owner sees."""
    names = ("id", "since", "created_at", "ready_at", "expires_at", "canceled_at", "completed_at")
    return {name: getattr(recovery, name) for name in names} | {"status": recovery_status(recovery, now)}


def admin_recovery_view(recovery: AccountRecovery, now: datetime) -> dict:
    """Return what support sees."""
    names = ("account_id", "started_by", "reason", "email", "only_older_can_cancel", "canceled_by")
    return recovery_view(recovery, now) | {name: getattr(recovery, name) for name in names}


def _lock_pending(account_id: str, recovery_id: str) -> AccountRecovery:
    if lock_row(Account, account_id) is None:
        raise NotFound
    recovery = AccountRecovery.find_pending(account_id)
    if recovery is None or recovery.id != recovery_id:
        raise NotFound
    return recovery


def _cancel_expired(account_id: str, now: datetime) -> None:
    """Make room for a new recovery: the database allows one pending recovery per account."""
    recovery = AccountRecovery.find_pending(account_id)
    if recovery and recovery.expires_at <= now:
        recovery.canceled_at, recovery.canceled_by = recovery.expires_at, "expired"
        db.session.flush()
