"""Sign-in of a television (RFC 8628): it shows a code, its owner approves the code on a phone, the television polls.

An approved code signs in once.
"""

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from flask import current_app

from streamsvc.models import Account, DeviceCode, Session
from streamsvc.operations.accounts.accounts import can_sign_in
from streamsvc.operations.outbox import audit
from streamsvc.operations.sign_in import hook
from streamsvc.rules.refusals.accounts import SignInDenied
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.rules.request_facts import RequestFacts
from streamsvc.rules.sign_in.device_codes import DEVICE_CODE_LIFETIME, POLL_INTERVAL_S, SLOW_DOWN_S, normalize_user_code
from streamsvc.rules.sign_in.sessions import hash_token
from streamsvc.storage.database import db, execute_in_session, execute_write, fetch_one, format_utc, lock_existing_row
from streamsvc.storage.durability import Relaxed


class OAuthError(Exception):
    """A failed token request; `error` is a code of RFC 6749, 5.2 or RFC 8628, 3.5."""

    def __init__(self, error: str):
        super().__init__(error)
        self.error = error


def create_device_code(device: dict, device_code: str, user_code: str, facts: RequestFacts, now: datetime) -> dict:
    """Create a device code, in the caller's transaction, and return the response of RFC 8628, 3.2.

    `device` is {name, kind}.
    """
    db.session.add(
        DeviceCode(
            device_code_hash=hash_token(device_code),
            user_code_hash=hash_token(normalize_user_code(user_code)),
            device={"name": device["name"], "kind": device["kind"], "city": facts.city},
            address=facts.address,
            interval_s=POLL_INTERVAL_S,
            next_poll_at=now,
            created_at=now,
            expires_at=now + DEVICE_CODE_LIFETIME,
        )
    )
    page = f"{current_app.extensions['settings'].public_url}/#/activate"
    return {
        "device_code": device_code,
        "user_code": user_code,
        "verification_uri": page,
        "verification_uri_complete": f"{page}?code={user_code}",
        "expires_in": int(DEVICE_CODE_LIFETIME.total_seconds()),
        "interval": POLL_INTERVAL_S,
    }


def get_pending_device_code(user_code: str, now: datetime) -> DeviceCode:
    """Return the device code that awaits a decision, to be shown before the user approves it. Raises NotFound."""
    device_code = DeviceCode.find_pending(hash_token(normalize_user_code(user_code)), now)
    if device_code is None:
        raise NotFound
    return device_code


def decide_device_code(
    user_code: str, account_id: str, session_id: str, approve: bool, authenticated_at: datetime, now: datetime
) -> None:
    """Approve or deny a pending device code, once. Raises NotFound.

    If the session that approves it ends before the television polls, the television is denied.
    `authenticated_at`: when the user who decides last authenticated.
    """
    device_code = get_pending_device_code(user_code, now)
    is_pending = (DeviceCode.id == device_code.id, DeviceCode.status == "pending")
    values: dict[str, Any] = {"status": "approved" if approve else "denied", "account_id": account_id}
    values |= {"decided_by_session_id": session_id, "decided_at": now}
    values["device"] = device_code.device | {"proved_at": format_utc(authenticated_at)}
    if execute_in_session(sa.update(DeviceCode).where(*is_pending).values(**values)) != 1:
        raise NotFound
    action = "device_code_approved" if approve else "device_code_denied"
    audit.record_event(action, account_id, device=device_code.device["name"])


def poll_device_code(device_code: str, facts: RequestFacts, now: datetime) -> sa.Row:
    """Redeem an approved device code, in the caller's transaction, and return its row. Raises OAuthError."""
    columns = DeviceCode.__table__.c
    row = fetch_one(sa.select(*columns).where(columns.device_code_hash == hash_token(device_code)))
    if row is None or row.status == "used":
        raise OAuthError("invalid_grant")
    if row.expires_at <= now:
        raise OAuthError("expired_token")
    if row.status == "denied":
        raise OAuthError("access_denied")
    if row.status == "pending":
        raise OAuthError(_record_poll(row, now))
    _ask_hook(row, facts)
    account = lock_existing_row(
        Account, row.account_id
    )  # orders this sign-in before or after a concurrent end of all sessions
    is_approved = (DeviceCode.id == row.id, DeviceCode.status == "approved")
    if execute_in_session(sa.update(DeviceCode).where(*is_approved).values(status="used")) != 1:
        raise OAuthError("invalid_grant")
    is_approver_live = sa.select(Session.id).where(
        Session.id == row.decided_by_session_id, *Session.live_conditions(now)
    )
    if not can_sign_in(account) or db.session.scalar(is_approver_live) is None:
        raise OAuthError("access_denied")
    return row


def _ask_hook(device_code: sa.Row, facts: RequestFacts) -> None:
    """Ask the sign-in hook. What it denies is denied for good. Raises OAuthError; Unavailable if the hook fails."""
    try:
        hook.require_permission(device_code.account_id, "device_code", device_code.device, facts)
    except SignInDenied:
        is_approved = (DeviceCode.id == device_code.id, DeviceCode.status == "approved")
        execute_write(sa.update(DeviceCode).where(*is_approved).values(status="denied"))
        raise OAuthError("access_denied") from None


def approver_authenticated_at(device_code: sa.Row) -> datetime:
    """Return when the user who approved the code had last authenticated; the television's session counts from then."""
    return datetime.fromisoformat(device_code.device["proved_at"])


def _record_poll(device_code: sa.Row, now: datetime) -> str:
    """Schedule the next poll; `authorization_pending`, or `slow_down` with an interval longer by five seconds."""
    is_too_soon = now < device_code.next_poll_at
    interval_s = device_code.interval_s + SLOW_DOWN_S if is_too_soon else device_code.interval_s
    values = {"interval_s": interval_s, "next_poll_at": now + timedelta(seconds=interval_s)}
    next_poll = sa.update(DeviceCode).where(DeviceCode.id == device_code.id).values(**values)
    execute_write(next_poll, relaxed=Relaxed.DEVICE_CODE_POLL)
    return "slow_down" if is_too_soon else "authorization_pending"
