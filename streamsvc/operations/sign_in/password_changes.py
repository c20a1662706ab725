"""Changes of an account's password and the verification of its email address."""

from collections.abc import Callable
from datetime import datetime
from typing import Literal

import sqlalchemy as sa

from streamsvc.models import Account, MailedToken, Session
from streamsvc.operations.accounts import accounts
from streamsvc.operations.credentials import (
    access_history,
    access_revocation,
    account_limits,
    mailed_tokens,
    revocation,
    sessions,
)
from streamsvc.operations.credentials.bindings import is_bound
from streamsvc.operations.credentials.mail_limits import count_mail_request, is_token_mail_due
from streamsvc.operations.credentials.mailbox_proofs import Prover, record_mailbox_proof
from streamsvc.operations.outbox import audit, mail, security_events
from streamsvc.operations.sign_in import access_links, email_changes, identifiers
from streamsvc.rules.emails import email_key
from streamsvc.rules.refusals.accounts import TokenInvalid
from streamsvc.rules.request_facts import RequestFacts
from streamsvc.rules.sign_in.sessions import hash_token
from streamsvc.storage.database import fetch_existing, fetch_one, lock_existing_row
from streamsvc.worker import jobs


def set_password(account_id: str, new_hash: str, now: datetime, kept_session_id: str | None) -> None:
    """Set the password, end all other sessions, cancel pending sign-ins, and notify the owner by mail."""
    account = lock_existing_row(Account, account_id)
    account.password_hash = new_hash
    is_reset = kept_session_id is None
    reason: Literal["password_reset", "password_changed"] = "password_reset" if is_reset else "password_changed"
    ended = sessions.end_sessions(account_id, now, reason, Session.id != (kept_session_id or ""))
    revocation.cancel_pending_sign_ins(account_id, now)
    account_limits.clear_account_limits(account, identifiers.list_rate_limit_subjects(account))
    access_history.record_credential_change(account_id, "password", now, kept_session_id)
    audit.record_event("authn_password_change", account_id, sessions_ended=len(ended))
    security_events.publish_password_changed(account_id, "reset" if is_reset else "changed")
    mail.enqueue_mail("password_changed", account.email, now)


def enqueue_password_reset(email: str, facts: RequestFacts, now: datetime) -> None:
    """Leave the request to the worker.

    The steps are the same whether or not the account exists, and beyond the mail limits.
    """
    key = email_key(email)
    request = count_mail_request(f"password_reset {key}", facts)
    jobs.enqueue_job("accounts.password_reset", {"email_key": key, **request}, now)


@jobs.job_handler("accounts.password_reset", jobs.INTERACTIVE_LANE)
def send_password_reset(payload: dict, now: datetime) -> None:
    """Mail a reset link to the account's own address, if an active account has this email."""
    account = Account.find_by_email_key(payload["email_key"])
    if account and account.status == "active" and is_token_mail_due("password_reset", account.id, payload, now):
        mail.enqueue_token_mail("password_reset", account.email, account.id, now)
        audit.record_event("authn_password_reset_asked", account.id)


def enqueue_email_verification(account_id: str, facts: RequestFacts, now: datetime) -> None:
    """Mail the verification link again, unless the address is verified.

    Beyond the mail limits, a link that is still fresh stays good instead.
    """
    account = fetch_existing(sa.select(Account.email, Account.email_verified_at).where(Account.id == account_id))
    if account.email_verified_at is not None:
        return
    request = count_mail_request(f"email_verification {account_id}", facts)
    if is_token_mail_due("email_verification", account_id, request, now):
        mail.enqueue_token_mail("email_verification", account.email, account_id, now)
        audit.record_event("email_verification_asked", account_id)


def check_new_password(token: str, password: str, now: datetime, kind: str = "password_reset") -> None:
    """Check a mailed token of this kind and a new password; the token stays open. Raises TokenInvalid, Invalid."""
    account = fetch_one(
        sa.select(Account.email, Account.name)
        .join(MailedToken, MailedToken.account_id == Account.id)
        .where(
            MailedToken.kind == kind,
            MailedToken.token_hash == hash_token(token),
            *MailedToken.open_conditions(now),
        )
    )
    if account is None:
        raise TokenInvalid
    accounts.check_password_strength(password, account.email, account.name)


def reset_password(
    token: str, new_hash: str, now: datetime, prover: Prover, revoke_since: datetime | None = None
) -> None:
    """Consume the token and set the password. Raises TokenInvalid, Invalid.

    `revoke_since`: the owner asks to revoke what was added since. The first proof of the mailbox revokes everything.
    """
    mailed_token = mailed_tokens.consume_mailed_token(token, now, "password_reset")
    if mailed_token is None:
        raise TokenInvalid
    plan = access_links.plan_revocation(mailed_token, now, revoke_since, prover, "revoke_access_since")
    is_recovered = verify_address(mailed_token, now, prover)
    if plan.start and not is_recovered:
        access_revocation.revoke_access(mailed_token.owner_id, plan, now, "password_reset")
    set_password(mailed_token.owner_id, new_hash, now, kept_session_id=None)
    if not (is_recovered or plan.start):
        security_events.publish_account_recovered(mailed_token.owner_id, "password_reset")


def confirm_email(token: str, now: datetime, prover: Prover) -> None:
    """Consume a token mailed to an address, and do what its kind stands for. Raises TokenInvalid, EmailTaken."""
    mailed_token = mailed_tokens.consume_mailed_token(token, now, *TOKEN_HANDLERS)
    if mailed_token is None:
        raise TokenInvalid
    TOKEN_HANDLERS[mailed_token.kind](mailed_token, now, prover)


def verify_address(mailed_token: MailedToken, now: datetime, prover: Prover) -> bool:
    """Mark the token's address as verified if it is still the account's; whether that revoked what was set before."""
    account = lock_existing_row(Account, mailed_token.owner_id)
    return account.email == mailed_token.email and record_mailbox_proof(account, prover, now)


def _confirm_address(mailed_token: MailedToken, now: datetime, prover: Prover) -> None:
    """Verify the address; if that revoked the password, mail a link to set one."""
    if verify_address(mailed_token, now, prover):
        mail.enqueue_token_mail("password_reset", mailed_token.email, mailed_token.owner_id, now)


def _confirm_sign_up(mailed_token: MailedToken, now: datetime, prover: Prover) -> None:
    """Create the account, with the password only if the browser or app that signed up confirms; else mail a link to set
    one."""
    is_own = is_bound(mailed_token.data.get("binding_hash"), prover.binding)
    account_id = accounts.confirm_sign_up(mailed_token, now, with_password=is_own)
    if not is_own:
        mail.enqueue_token_mail("password_reset", mailed_token.email, account_id, now)


TOKEN_HANDLERS: dict[str, Callable[[MailedToken, datetime, Prover], object]] = {
    "email_verification": _confirm_address,
    "sign_up": _confirm_sign_up,
    "email_change": lambda mailed_token, now, _: email_changes.complete_email_change(mailed_token, now),
    "email_undo": lambda mailed_token, now, _: access_links.apply_access_link(mailed_token, now),
}
"""Kind of a mailed token -> what confirming it does."""
