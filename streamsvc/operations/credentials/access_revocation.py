"""Revokes everything that was added to an account since a moment: after a takeover, or if it was never its owner's.

The one operation behind the links in mails, a finished password reset, the first proof of a mailbox and the recoveries
that support starts. What is older than the moment stays. Each revocation is published as security events.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from streamsvc.models import (
    Account,
    AccountRecovery,
    Device,
    Identity,
    MailedToken,
    Passkey,
    PendingFlow,
    Phone,
    PhoneVerification,
    Session,
    StreamDevice,
    TotpFactor,
    Username,
)
from streamsvc.operations.billing.core import customers
from streamsvc.operations.credentials import revocation, sessions
from streamsvc.operations.credentials.access_history import find_email_at, list_access, record_credential_change
from streamsvc.operations.outbox import audit, security_events
from streamsvc.rules.emails import email_key
from streamsvc.rules.refusals.accounts import EmailTaken
from streamsvc.rules.security_events import Factor, RevocationCause
from streamsvc.rules.sign_in.access import EVERYTHING, AccessEntry, AccessStart, RevocationPlan
from streamsvc.storage.database import db, lock_existing_row

UNDO_TOKEN_KINDS = ("new_device", "factor_added", "email_undo")
"""Kinds of mailed tokens that revoke access. They outlive the account's closing, which an intruder could cause."""


def revoke_access(
    account_id: str,
    plan: RevocationPlan,
    now: datetime,
    cause: RevocationCause,
    revoke_links_after: str | None = None,
) -> list[AccessEntry]:
    """Revoke what the plan, which has a start, says, in the caller's transaction.

    The password stops working, and everything pending is canceled: mailed links and codes, approved televisions, flows
    and support's recoveries. Of the links that revoke access, those mailed after the token `revoke_links_after` are
    revoked, by default none: of competing claims, the oldest wins. Those mailed since the start to an address that the
    account got since then are always revoked. A deleted account is restored. Returns what was
    revoked.
    """
    account = lock_existing_row(Account, account_id)
    start = plan.start or EVERYTHING
    revoked = plan.find_revoked(list_access(account_id, now))
    _revoke_devices_and_sessions(account_id, revoked, now, cause, plan.all_sessions)
    _delete_credentials(account_id, revoked)
    _delete_identifiers(account_id, revoked)
    if account.password_hash is not None:
        account.password_hash = None
        security_events.publish_password_changed(account_id, "cleared")
    _cancel_pending(account_id, now, revoke_links_after)
    _revoke_links_to_newer_emails(account, start, now)
    if account.status == "deleted":
        account.status, account.restored_status, account.erase_at = account.restored_status or "active", None, None
        audit.record_event("account_restored", account_id)
    counts: dict[str, Any] = {}
    for entry in revoked:
        counts[entry.kind] = counts.get(entry.kind, 0) + entry.is_active
    security_events.publish_account_recovered(account_id, cause)
    audit.record_event("access_revoked", account_id, cause=cause, since=str(start.at or "ever"), revoked=counts)
    return revoked


def restore_email(account: Account, email: str, now: datetime) -> bool:
    """Give the account this address, whose mailbox was just proved; False if another verified account has it now.

    Raises EmailTaken if another account gets the address at the same moment.

    An account that holds the address without ever having proved it loses it: otherwise an intruder could keep the owner
    out by signing up with the address that the takeover set free.
    """
    key = email_key(email)
    if account.email_key != key:
        holder = sa.select(Account.id, Account.email_verified_at).where(Account.email_key == key)
        other = db.session.execute(holder).first()
        if other and other.email_verified_at:
            return False
        if other:
            released = f"{other.id}@released.invalid"
            is_unproven = (Account.id == other.id, Account.email_verified_at.is_(None))
            db.session.execute(sa.update(Account).where(*is_unproven).values(email=released, email_key=released))
            audit.record_event("email_released", other.id)
            security_events.publish_email_changed(other.id)
        if not account.email.endswith("@deleted.invalid"):
            record_credential_change(account.id, "email", now, None, account.email)
        security_events.publish_email_changed(account.id, is_undone=True)
    account.email, account.email_key, account.email_verified_at = email, key, now
    try:
        db.session.flush()
    except IntegrityError:
        db.session.rollback()
        raise EmailTaken from None
    customers.enqueue_customer_update(account.id, now)
    return True


def cancel_recoveries(account_id: str, now: datetime, canceled_by: str, actor: str | None = None) -> None:
    """Cancel the recovery of the account that support started, if there is one, in the caller's transaction."""
    recovery = AccountRecovery.find_pending(account_id)
    if recovery:
        recovery.canceled_at, recovery.canceled_by = now, canceled_by
        MailedToken.revoke_all(account_id, now, "account_recovery", "recovery_notice")
        audit.record_event("recovery_canceled", account_id, actor=actor, recovery=recovery.id, canceled_by=canceled_by)


def mark_unproven_links(account: Account) -> None:
    """Mark the links that revoke access if the account leaves an address that it never proved; call it before.

    Whoever has that mailbox never had the account. If they use such a link, nothing that is older can be theirs either.
    """
    if account.email_verified_at is None:
        is_open = (MailedToken.account_id == account.id, MailedToken.used_at.is_(None))
        links = sa.select(MailedToken).where(*is_open, MailedToken.kind.in_(UNDO_TOKEN_KINDS))
        for link in db.session.scalars(links.where(MailedToken.email == account.email)):
            link.data = {**link.data, "is_unproven": True}


def _ids(entries: Iterable[AccessEntry], kind: str) -> list[str]:
    return [entry.id for entry in entries if entry.kind == kind]


def _revoke_devices_and_sessions(
    account_id: str, revoked: list[AccessEntry], now: datetime, cause: RevocationCause, all_of_them: bool
) -> None:
    device_ids, session_ids = _ids(revoked, "device"), _ids(revoked, "session")
    is_removed = (Device.account_id == account_id, Device.id.in_(device_ids), Device.removed_at.is_(None))
    db.session.execute(sa.update(Device).where(*is_removed).values(removed_at=now))
    places = (StreamDevice.account_id == account_id, StreamDevice.device_id.in_(device_ids))
    db.session.execute(sa.delete(StreamDevice).where(*places))
    sessions.end_sessions(account_id, now, cause, *([] if all_of_them else [Session.id.in_(session_ids)]))
    db.session.execute(
        sa.update(PendingFlow)
        .where(PendingFlow.session_id.in_(session_ids), PendingFlow.used_at.is_(None))
        .values(used_at=now, data={})
    )


def _delete_credentials(account_id: str, revoked: list[AccessEntry]) -> None:
    counts: dict[str, Any] = {}
    for model, kind in ((Passkey, "passkey"), (Identity, "identity")):
        provider = Identity.provider if model is Identity else sa.null()
        deleted = sa.delete(model).where(model.account_id == account_id, model.id.in_(_ids(revoked, kind)))
        rows = db.session.execute(
            deleted.returning(model.id, provider).execution_options(synchronize_session=False)
        ).all()
        counts[model.__tablename__] = len(rows)
        for factor_id, provider_name in rows:
            factor: Factor = "provider" if provider_name else "passkey"
            security_events.publish_factor_removed(account_id, factor, factor_id, provider_name)
    if any(counts.values()):
        audit.record_event("credentials_revoked", account_id, **counts)
    if _ids(revoked, "authenticator"):
        is_active = [entry.is_active for entry in revoked if entry.kind == "authenticator"]
        db.session.execute(sa.delete(TotpFactor).where(TotpFactor.account_id == account_id))
        if any(is_active):
            security_events.publish_factor_removed(account_id, "totp")
            audit.record_event("authn_factor_removed", account_id, factor="totp")
    if _ids(revoked, "authenticator") or _ids(revoked, "recovery_codes"):
        revocation.delete_recovery_codes(account_id)


def _delete_identifiers(account_id: str, revoked: list[AccessEntry]) -> None:
    """Delete a username and a telephone number by which an intruder could be taken for the owner."""
    if _ids(revoked, "username"):
        db.session.execute(sa.delete(Username).where(Username.account_id == account_id))
        audit.record_event("username_removed", account_id)
    if _ids(revoked, "phone"):
        db.session.execute(sa.delete(Phone).where(Phone.account_id == account_id))
        audit.record_event("phone_removed", account_id)
    db.session.execute(sa.delete(PhoneVerification).where(PhoneVerification.account_id == account_id))


def _cancel_pending(account_id: str, now: datetime, revoke_links_after: str | None) -> None:
    revocation.cancel_pending_sign_ins(account_id, now)
    MailedToken.revoke_all(account_id, now, "account_restoration", "email_verification")
    if revoke_links_after is not None:
        is_newer_link = (
            MailedToken.account_id == account_id,
            MailedToken.kind.in_(UNDO_TOKEN_KINDS),
            MailedToken.used_at.is_(None),
            MailedToken.id > revoke_links_after,
        )
        db.session.execute(sa.update(MailedToken).where(*is_newer_link).values(used_at=now))
    cancel_recoveries(account_id, now, "superseded")


def _revoke_links_to_newer_emails(account: Account, start: AccessStart, now: datetime) -> None:
    """Revoke links by which the holder of an address that the account got since the start could take it back again."""
    email = find_email_at(account.id, account.email, start.at)
    if account.status == "deleted" and email == account.email:
        return  # no address of anybody's
    is_foreign_link = [
        MailedToken.account_id == account.id,
        MailedToken.kind.in_(UNDO_TOKEN_KINDS),
        MailedToken.used_at.is_(None),
        MailedToken.email != email,
    ]
    if start.at is not None:
        is_foreign_link.append(MailedToken.created_at >= start.at)
    db.session.execute(sa.update(MailedToken).where(*is_foreign_link).values(used_at=now))
