"""A television shows a code; who is signed in on a phone approves it; the television polls and is signed in, once."""

from datetime import datetime, timedelta

import sqlalchemy as sa
from flask import current_app, request

from streamsvc.http import trusted_proxies
from streamsvc.models import Account, DeviceCode
from streamsvc.operations.accounts.accounts import can_sign_in
from streamsvc.operations.outbox import audit
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.rules.sign_in.device_codes import DEVICE_CODE_LIFETIME, POLL_INTERVAL_S, SLOW_DOWN_S, normalize_user_code
from streamsvc.rules.sign_in.sessions import hash_token
from streamsvc.storage.database import db, execute_write, fetch_one, format_utc, lock_row


class OAuthError(Exception):
    """`error` is one of RFC 6749, 5.2 and RFC 8628, 3.5."""

    def __init__(self, error: str):
        super().__init__(error)
        self.error = error


def create_device_code(device: dict, device_code: str, user_code: str, now: datetime) -> dict:
    """What the device shows and keeps (RFC 8628, 3.2), in the caller's unit of work."""
    db.session.add(
        DeviceCode(
            device_code_hash=hash_token(device_code),
            user_code_hash=hash_token(normalize_user_code(user_code)),
            device={"name": device["name"], "kind": device["kind"], "city": trusted_proxies.client_city()},
            address=request.remote_addr,
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
    """What waits under this code, to be shown before anybody says yes. Raises NotFound."""
    found = DeviceCode.find_pending(hash_token(normalize_user_code(user_code)), now)
    if found is None:
        raise NotFound
    return found


def decide_device_code(
    user_code: str, account_id: str, approve: bool, authenticated_at: datetime, now: datetime
) -> None:
    """Say yes or no, once. `proved_at`: when who says it last proved who they are. Raises NotFound."""
    found = get_pending_device_code(user_code, now)
    still = (DeviceCode.id == found.id, DeviceCode.status == "pending")
    values = {"status": "approved" if approve else "denied", "account_id": account_id}
    values["device"] = found.device | {"proved_at": format_utc(authenticated_at)}
    if db.session.execute(sa.update(DeviceCode).where(*still).values(**values)).rowcount != 1:
        raise NotFound
    audit.record_event(
        "device_code_approved" if approve else "device_code_denied", account_id, device=found.device["name"]
    )


def poll_device_code(device_code: str, now: datetime) -> sa.Row:
    """The approved code's row, used up in the caller's unit of work: who signs in, on what. Raises TokenRefused."""
    columns = DeviceCode.__table__.c
    found = fetch_one(sa.select(*columns).where(columns.device_code_hash == hash_token(device_code)))
    if found is None or found.status == "used":
        raise OAuthError("invalid_grant")
    if found.expires_at <= now:
        raise OAuthError("expired_token")
    if found.status == "denied":
        raise OAuthError("access_denied")
    if found.status == "pending":
        raise OAuthError(_record_poll(found, now))
    account = lock_row(
        Account, found.account_id
    )  # whatever ends sessions at this moment comes before this one, or after
    approved = (DeviceCode.id == found.id, DeviceCode.status == "approved")
    if db.session.execute(sa.update(DeviceCode).where(*approved).values(status="used")).rowcount != 1:
        raise OAuthError("invalid_grant")
    if not can_sign_in(account):
        raise OAuthError("access_denied")
    return found


def approver_authenticated_at(device_code: sa.Row) -> datetime:
    """When the owner who approved it had last proved who they are: the television proves no more than that."""
    return datetime.fromisoformat(device_code.device["proved_at"])


def _record_poll(device_code, now: datetime) -> str:
    """`authorization_pending`, or `slow_down` with five seconds more between polls from now on."""
    too_soon = now < device_code.next_poll_at
    interval_s = device_code.interval_s + SLOW_DOWN_S if too_soon else device_code.interval_s
    next_poll_at = now + timedelta(seconds=interval_s)
    execute_write(
        sa.update(DeviceCode)
        .where(DeviceCode.id == device_code.id)
        .values(interval_s=interval_s, next_poll_at=next_poll_at)
    )
    return "slow_down" if too_soon else "authorization_pending"
