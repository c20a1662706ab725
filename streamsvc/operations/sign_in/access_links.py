"""Links in mails by which an owner revokes access: "not my device", "not my sign-in method", undo of a changed address.

A link reports on a session, and revokes everything since that session began. Its holder can have it reach further back,
but no further than a week: who reads a mailbox can then remove no authenticator that is older.
"""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from streamsvc.models import Account, AccountRecovery, Device, MailedToken, Session
from streamsvc.operations.credentials import mailed_tokens
from streamsvc.operations.credentials.access_history import list_access
from streamsvc.operations.credentials.access_revocation import UNDO_TOKEN_KINDS, restore_email, revoke_access
from streamsvc.operations.credentials.mailbox_proofs import Prover, is_first_foreign_proof
from streamsvc.operations.outbox import audit, mail
from streamsvc.rules.refusals.accounts import EmailTaken, TokenInvalid
from streamsvc.rules.refusals.requests import Invalid
from streamsvc.rules.security_events import RevocationCause
from streamsvc.rules.sign_in.access import (
    EVERYTHING,
    MAILED_UNDO_PERIOD,
    REVOKE_EVERYTHING,
    AccessStart,
    RevocationPlan,
)
from streamsvc.rules.sign_in.sessions import hash_token
from streamsvc.storage.database import db, lock_existing_row

CAUSES: dict[str, RevocationCause] = {
    "new_device": "device_disowned",
    "factor_added": "factor_disowned",
    "email_undo": "email_change_undone",
}
"""Kind of a link -> why access is revoked by it."""
NO_PROVER = Prover()
PREVIEWED_KINDS = (*UNDO_TOKEN_KINDS, "password_reset", "account_recovery")


def get_mailed_start(since: datetime, now: datetime, field: str = "since") -> AccessStart:
    """Return the moment that the holder of a mailed token chose. Raises Invalid unless it is within the last week."""
    if not now - MAILED_UNDO_PERIOD <= since <= now:
        raise Invalid(errors={field: ["Must be within the last seven days."]})
    return AccessStart(since)


def use_access_link(
    token: str, now: datetime, since: datetime | None = None, kinds: tuple[str, ...] = UNDO_TOKEN_KINDS
) -> None:
    """Revoke what the link in the mail stands for, in the caller's transaction. Raises TokenInvalid, EmailTaken,
    Invalid."""
    mailed_token = mailed_tokens.consume_mailed_token(token, now, *kinds)
    if mailed_token is None:
        raise TokenInvalid
    apply_access_link(mailed_token, now, since)


def apply_access_link(mailed_token: MailedToken, now: datetime, since: datetime | None = None) -> None:
    """Revoke access as a consumed link says, and mail a link to set a new password to the address that got it.

    That address is the account's again, if it is not any more. Raises EmailTaken, Invalid.
    """
    account = lock_existing_row(Account, mailed_token.owner_id)
    is_undo = mailed_token.kind == "email_undo"
    plan = plan_revocation(mailed_token, now, since)
    is_closed = account.status == "deleted"
    revoke_access(account.id, plan, now, CAUSES[mailed_token.kind], revoke_links_after=mailed_token.id)
    if is_undo or is_closed or account.email != mailed_token.email:
        is_restored = restore_email(account, mailed_token.email, now)
        if not is_restored and (is_undo or is_closed):
            db.session.rollback()
            raise EmailTaken
    if is_undo:
        audit.record_event("email_change_undone", account.id)
    elif mailed_token.kind == "new_device":
        audit.record_event("device_disowned", account.id, device=mailed_token.data["device_id"])
    mail.enqueue_token_mail("password_reset", mailed_token.email, account.id, now)


def preview_access_link(token: str, now: datetime, since: datetime | None, prover: Prover) -> dict:
    """Return what using the token would revoke, without consuming it: {since, items}. Raises TokenInvalid, Invalid."""
    is_open = (MailedToken.token_hash == hash_token(token), MailedToken.kind.in_(PREVIEWED_KINDS))
    mailed_token = db.session.scalar(sa.select(MailedToken).where(*is_open, *MailedToken.open_conditions(now)))
    if mailed_token is None:
        raise TokenInvalid
    plan = plan_revocation(mailed_token, now, since, prover)
    entries = list_access(mailed_token.owner_id, now)
    revoked = {entry.key for entry in plan.find_revoked(entries)}
    shown = [access_entry_view(entry, entry.key in revoked) for entry in entries if entry.is_active]
    return {"since": plan.start.at if plan.start else None, "items": shown}


def plan_revocation(
    mailed_token: MailedToken,
    now: datetime,
    since: datetime | None = None,
    prover: Prover = NO_PROVER,
    since_field: str = "since",
) -> RevocationPlan:
    """Decide what a mailed token revokes, for its preview and when it is used. Raises TokenInvalid, Invalid."""
    account = db.session.get_one(Account, mailed_token.owner_id)
    if mailed_token.kind == "account_recovery":
        recovery = db.session.get_one(AccountRecovery, mailed_token.data["recovery_id"])
        if recovery.canceled_at or recovery.completed_at or account.status == "disabled":
            raise TokenInvalid
        return RevocationPlan(AccessStart(recovery.since) if recovery.since else EVERYTHING, all_sessions=True)
    if mailed_token.kind == "password_reset":
        start = get_mailed_start(since, now, since_field) if since else None
        is_first_proof = account.email == mailed_token.email and is_first_foreign_proof(account.id, prover)
        return REVOKE_EVERYTHING if is_first_proof else RevocationPlan(start, all_sessions=True)
    start, device_ids = _find_start(mailed_token, now, since)
    is_undo = mailed_token.kind == "email_undo"
    if is_undo and account.email_verified_at is None and account.status != "deleted":
        start = EVERYTHING
    return RevocationPlan(start, device_ids, all_sessions=is_undo)


def access_entry_view(entry: Any, is_revoked: bool | None = None) -> dict:
    names = ("kind", "id", "name", "created_at", "added_by_session_id", "device_id")
    view = {name: getattr(entry, name) for name in names} | {"active": entry.is_active}
    return view if is_revoked is None else view | {"revoked": is_revoked}


def _find_start(mailed_token: MailedToken, now: datetime, since: datetime | None) -> tuple[AccessStart, list[str]]:
    """Find the moment from which on the token revokes, and the device it is about. Raises Invalid."""
    start, device_ids = AccessStart(mailed_token.created_at), []
    if mailed_token.data.get("is_unproven"):
        return EVERYTHING, []
    if mailed_token.kind == "new_device":
        device_ids = [mailed_token.data["device_id"]]
        device = db.session.get(Device, device_ids[0])
        if device and not mailed_token.data.get("is_older_device"):
            start = AccessStart(device.created_at, device.id)
    elif session := db.session.get(Session, mailed_token.data.get("session_id") or ""):
        is_new_device = session.device.created_at == session.created_at
        start = AccessStart(session.created_at, session.device_id if is_new_device else session.id)
    if since and (start.at is None or since < start.at):
        start = get_mailed_start(since, now)
    elif since and since > now:
        raise Invalid(errors={"since": ["Must not be in the future."]})
    return start, device_ids
