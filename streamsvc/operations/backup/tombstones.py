"""Tombstones: what an older backup must not bring back, read from a newer database.

Deleted accounts, credentials that were changed or revoked, and subscriptions that were canceled: ids and times only.
They are read from the database that a restore replaces, and can be written to a file from time to time, which is small.
"""

import json
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from streamsvc.models import Account, ApiKey, AuditEvent, OperatorAccount
from streamsvc.models.subscriptions import SubscriptionEvent
from streamsvc.operations.backup.archive import BackupError, format_moment, write_atomically
from streamsvc.storage.database import format_utc

FORMAT = "streamsvc tombstones 1"
LONGEST_REQUEST = timedelta(minutes=1)
"""How much earlier than a moment an event may say it was, although it was committed later."""
PASSWORD_ACTIONS = ("authn_password_change", "account_recovered", "access_revoked", "credentials_revoked")
FACTOR_ACTIONS = ("authn_factor_removed", "identity_unlinked", "access_revoked", "credentials_revoked")
"""After the last two, which do not say what was removed, all passkeys and linked identities of the account go."""
CODE_ACTIONS = ("recovery_codes_made", "access_revoked")
EMAIL_ACTIONS = ("email_changed", "email_change_undone")


@dataclass
class Tombstones:
    """Ids with the service's time of the event, RFC 3339; None where it is not known, which counts as recent."""

    read_at: str
    since: str
    """Credentials that were changed before are not listed."""
    erased: dict[str, str | None] = field(default_factory=dict)
    closed: dict[str, str | None] = field(default_factory=dict)
    """Accounts within their grace period."""
    disabled: dict[str, str | None] = field(default_factory=dict)
    passwords: dict[str, str | None] = field(default_factory=dict)
    """Accounts and operators whose password was changed."""
    passkeys: dict[str, str | None] = field(default_factory=dict)
    identities: dict[str, str | None] = field(default_factory=dict)
    factors: dict[str, str | None] = field(default_factory=dict)
    """Accounts from which all passkeys and identities were removed, or an unknown one."""
    recovery_codes: dict[str, str | None] = field(default_factory=dict)
    """Accounts whose recovery codes were replaced."""
    emails: dict[str, str | None] = field(default_factory=dict)
    """Accounts whose email address was changed."""
    operators: dict[str, str | None] = field(default_factory=dict)
    """Operators who were disabled, removed or reset."""
    api_keys: dict[str, str | None] = field(default_factory=dict)
    subscriptions: dict[str, int] = field(default_factory=dict)
    """The number of the last change by owner or operator, such as a cancellation, of subscriptions changed since."""


def list_since(ids: dict[str, str | None], moment: datetime) -> set[str]:
    """List the ids of the events since a moment, and those whose transaction may have ended after it."""
    return {key for key, at in ids.items() if at is None or datetime.fromisoformat(at) >= moment - LONGEST_REQUEST}


def read_tombstones(connection: sa.Connection, since: datetime, now: datetime) -> Tombstones:
    """Read the tombstones of a database of this release's schema, or a similar one. Raises SQLAlchemyError."""
    found = Tombstones(read_at=format_moment(now), since=format_moment(since))
    row: Any
    deleted = sa.select(Account.id, Account.erase_at).where(Account.status == "deleted")
    for row in connection.execute(deleted):
        (found.closed if row.erase_at else found.erased)[row.id] = None
    for row in connection.execute(sa.select(Account.id).where(Account.status == "disabled")):
        found.disabled[row.id] = None
    for row in connection.execute(sa.select(ApiKey.id, ApiKey.revoked_at).where(ApiKey.revoked_at.is_not(None))):
        found.api_keys[row.id] = format_utc(row.revoked_at)
    for row in connection.execute(sa.select(OperatorAccount.id).where(OperatorAccount.status != "active")):
        found.operators[row.id] = None
    changes = sa.select(SubscriptionEvent.subscription_id, sa.func.max(SubscriptionEvent.seq).label("last"))
    changes = changes.where(SubscriptionEvent.at >= since - LONGEST_REQUEST, SubscriptionEvent.actor.is_not(None))
    for row in connection.execute(changes.group_by(SubscriptionEvent.subscription_id)):
        found.subscriptions[row.subscription_id] = row.last
    _read_credential_changes(connection, since, found)
    return found


def _read_credential_changes(connection: sa.Connection, since: datetime, found: Tombstones) -> None:
    actions = {*PASSWORD_ACTIONS, *FACTOR_ACTIONS, *CODE_ACTIONS, *EMAIL_ACTIONS, "operator_reset"}
    events = sa.select(AuditEvent.action, AuditEvent.account_id, AuditEvent.actor, AuditEvent.details, AuditEvent.at)
    events = events.where(AuditEvent.at >= since - LONGEST_REQUEST, AuditEvent.action.in_(actions)).order_by(
        AuditEvent.seq
    )
    for event in connection.execute(events):
        owner, at, details = event.account_id or event.actor, format_utc(event.at), event.details or {}
        if event.action in PASSWORD_ACTIONS:
            found.passwords[owner] = at
        if event.action in CODE_ACTIONS:
            found.recovery_codes[owner] = at
        if event.action in EMAIL_ACTIONS:
            found.emails[owner] = at
        if event.action == "operator_reset":
            found.operators[details.get("operator", owner)] = at
        if event.action in FACTOR_ACTIONS:
            if "passkey" in details:
                found.passkeys[details["passkey"]] = at
            elif "identity" in details:
                found.identities[details["identity"]] = at
            elif details.get("factor") != "totp":
                found.factors[owner] = at


def write_tombstones(path: Path, tombstones: Tombstones) -> None:
    """Write the tombstones to a new file, or replace an older one. Raises BackupError."""
    text = json.dumps({"format": FORMAT, **asdict(tombstones)}, indent=1) + "\n"
    with write_atomically(path, replaces=True) as file:
        file.write(text.encode())


def load_tombstones(path: Path) -> Tombstones:
    """Load tombstones from a file. Raises BackupError."""
    try:
        document = json.loads(path.read_text())
        if document.pop("format") != FORMAT:
            raise ValueError("another format")
        return Tombstones(**document)
    except OSError as error:
        raise BackupError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BackupError(f"{path} is no file of tombstones: {error}") from None
