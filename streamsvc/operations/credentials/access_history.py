"""The access history of an account: each row that gives or gave access, when it was added, and by which session.

The rows themselves are the record (`created_at`, `added_by_session_id`): nothing can give access without being listed.
Only changes of the address and of the password leave no such row; they are rows of `credential_changes`.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from streamsvc.models import (
    CredentialChange,
    Device,
    DeviceCode,
    Identity,
    Passkey,
    Phone,
    RecoveryCode,
    Session,
    TotpFactor,
    Username,
)
from streamsvc.rules.sign_in.access import AccessEntry
from streamsvc.rules.sign_in.phones import mask_phone
from streamsvc.storage.database import db


def list_access(account_id: str, now: datetime) -> list[AccessEntry]:
    """List the account's access history, newest first."""
    entries = [entry for list_entries in SOURCES for entry in list_entries(account_id, now)]
    return sorted(entries, key=lambda entry: (entry.created_at, entry.id), reverse=True)


def record_credential_change(
    account_id: str, kind: str, now: datetime, session_id: str | None, previous_email: str | None = None
) -> None:
    """Record a change of the address (`email`) or of the `password`, in the caller's transaction."""
    change = CredentialChange(account_id=account_id, kind=kind, added_by_session_id=session_id, created_at=now)
    change.previous_email = previous_email
    db.session.add(change)


def find_email_at(account_id: str, current_email: str, moment: datetime | None) -> str:
    """Find the address that the account had at this moment; without one, the first that it had."""
    changes = (CredentialChange.account_id == account_id, CredentialChange.kind == "email")
    later = sa.select(CredentialChange.previous_email).where(*changes)
    if moment is not None:
        later = later.where(CredentialChange.created_at >= moment)
    previous = db.session.scalar(later.order_by(CredentialChange.created_at, CredentialChange.id).limit(1))
    return previous or current_email


def list_previous_emails(account_id: str) -> list[str]:
    """List the addresses that the account had before, oldest first."""
    changes = (CredentialChange.account_id == account_id, CredentialChange.previous_email.is_not(None))
    emails = sa.select(CredentialChange.previous_email).where(*changes).order_by(CredentialChange.id)
    return list(dict.fromkeys(email for email in db.session.scalars(emails) if email))


def _list_sessions(account_id: str, now: datetime) -> list[AccessEntry]:
    columns = (Session.id, Session.created_at, Session.added_by_session_id, Session.device_id, Session.method)
    is_live = sa.and_(*Session.live_conditions(now)).label("is_live")
    rows = db.session.execute(
        sa.select(*columns, Device.name, is_live)
        .join(Device, Device.id == Session.device_id)
        .where(Session.account_id == account_id)
    )
    return [
        AccessEntry("session", r.id, r.created_at, r.added_by_session_id, r.name, r.device_id, bool(r.is_live))
        for r in rows
    ]


def _list_devices(account_id: str, now: datetime) -> list[AccessEntry]:
    devices = db.session.scalars(Device.select_owned(account_id))
    return [AccessEntry("device", device.id, device.created_at, name=device.name) for device in devices]


def _list_device_approvals(account_id: str, now: datetime) -> list[AccessEntry]:
    is_decided = (DeviceCode.account_id == account_id, DeviceCode.status.in_(("approved", "used")))
    return [
        AccessEntry(
            "device_approval",
            code.id,
            code.decided_at or code.created_at,
            code.decided_by_session_id,
            code.device["name"],
            is_active=code.status == "approved" and code.expires_at > now,
        )
        for code in db.session.scalars(sa.select(DeviceCode).where(*is_decided))
    ]


def _list_credentials(
    model: Any, kind: str, name: Callable[[Any], str]
) -> Callable[[str, datetime], list[AccessEntry]]:
    def list_entries(account_id: str, now: datetime) -> list[AccessEntry]:
        rows = db.session.scalars(sa.select(model).where(model.account_id == account_id))
        return [AccessEntry(kind, row.id, row.created_at, row.added_by_session_id, name(row)) for row in rows]

    return list_entries


def _list_authenticators(account_id: str, now: datetime) -> list[AccessEntry]:
    """List the authenticator: as old as its confirmation, before which it was none."""
    factor = db.session.scalar(sa.select(TotpFactor).where(TotpFactor.account_id == account_id))
    if factor is None:
        return []
    created_at, added_by = factor.confirmed_at or factor.created_at, factor.added_by_session_id
    is_active = factor.confirmed_at is not None
    return [AccessEntry("authenticator", factor.account_id, created_at, added_by, is_active=is_active)]


def _list_recovery_codes(account_id: str, now: datetime) -> list[AccessEntry]:
    """List the set of recovery codes as one entry: there is only one at a time."""
    codes = sa.select(RecoveryCode).where(RecoveryCode.account_id == account_id).order_by(RecoveryCode.id.desc())
    newest = db.session.scalar(codes.limit(1))
    if newest is None:
        return []
    return [AccessEntry("recovery_codes", newest.id, newest.created_at, newest.added_by_session_id)]


def _list_identifiers(account_id: str, now: datetime) -> list[AccessEntry]:
    """List the username and the telephone number: as old as their last change."""
    username, phone = db.session.get(Username, account_id), db.session.get(Phone, account_id)
    entries = []
    if username:
        entry = AccessEntry("username", account_id, username.set_at, username.added_by_session_id, username.username)
        entries.append(entry)
    if phone:
        name, added_by = mask_phone(phone.number), phone.added_by_session_id
        entries.append(AccessEntry("phone", account_id, phone.verified_at, added_by, name))
    return entries


def _list_changes(account_id: str, now: datetime) -> list[AccessEntry]:
    rows = db.session.scalars(sa.select(CredentialChange).where(CredentialChange.account_id == account_id))
    return [AccessEntry(f"{r.kind}_change", r.id, r.created_at, r.added_by_session_id) for r in rows]


SOURCES = (
    _list_sessions,
    _list_devices,
    _list_device_approvals,
    _list_credentials(Passkey, "passkey", lambda row: row.name),
    _list_credentials(Identity, "identity", lambda row: row.provider),
    _list_authenticators,
    _list_recovery_codes,
    _list_identifiers,
    _list_changes,
)
