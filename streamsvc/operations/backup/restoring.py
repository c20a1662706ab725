"""What is done to a restored database before it is served: what the backup must not bring back is taken away again."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from streamsvc.models import (
    Account,
    ApiKey,
    Identity,
    MailedToken,
    OperatorAccount,
    OperatorSession,
    Passkey,
    PendingFlow,
    RecoveryCode,
    Restore,
)
from streamsvc.models.subscriptions import SandboxCharge, Subscription, SubscriptionEvent
from streamsvc.operations.backup.archive import format_moment
from streamsvc.operations.backup.tombstones import Tombstones, list_since
from streamsvc.operations.credentials.sessions import count_live_sessions, end_all_sessions
from streamsvc.operations.outbox import audit
from streamsvc.operations.sign_in import closing
from streamsvc.rules.billing.access import LIVE_STATUSES
from streamsvc.rules.refusals.billing import PaymentInProgress
from streamsvc.storage.database import db, execute_in_session

KEPT_TOKEN_KINDS = {*closing.KEPT_TOKEN_KINDS, closing.TOKEN_KIND}
"""Links that give an account back to its owner; all others may have been used since."""
UNKNOWN = (
    "accounts deleted since the backup",
    "passwords and other credentials changed since",
    "API keys revoked since, and operators disabled or removed since",
    "subscriptions changed or canceled since",
)
"""What cannot be known without a newer database or tombstones."""


@dataclass
class RestoreReport:
    """What was done to the restored database: ids, and sentences about what could not be done."""

    sessions: int = 0
    erased: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    disabled: list[str] = field(default_factory=list)
    passwords: list[str] = field(default_factory=list)
    factors: int = 0
    operators: list[str] = field(default_factory=list)
    api_keys: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)


def secure_restored_database(
    taken_at: datetime, service_taken_at: datetime, tombstones: list[Tombstones], now: datetime
) -> RestoreReport:
    """End all sessions, apply the tombstones, and hold charging until the books are reconciled. Commits.

    `taken_at` and `service_taken_at`: the backup's time by the machine's clock and by the service's.
    """
    report = RestoreReport(sessions=count_live_sessions(now))
    db.session.add(Restore(taken_at=taken_at, restored_at=now))
    _end_sessions(report.sessions, taken_at, now)
    db.session.commit()
    for found in tombstones:
        _revoke_credentials(found, service_taken_at, now, report)
        _hold_subscriptions(found, now, report)
        db.session.commit()
        _delete_accounts(found, now, report)
    report.open += describe_unknown(tombstones, service_taken_at)
    details: dict[str, Any] = {
        name: value if isinstance(value, int) else len(value) for name, value in vars(report).items()
    }
    audit.record_event("database_restored", taken_at=format_moment(taken_at), **details)
    db.session.commit()
    return report


def describe_unknown(tombstones: list[Tombstones], service_taken_at: datetime) -> list[str]:
    """Say what about the time since the backup is not known."""
    if not tombstones:
        return [f"not known: {what}" for what in UNKNOWN]
    newest = max(datetime.fromisoformat(found.read_at) for found in tombstones)
    sentences = [f"not known: what was deleted, revoked or canceled after {format_moment(newest)}"]
    oldest = min(datetime.fromisoformat(found.since) for found in tombstones)
    if oldest > service_taken_at:
        sentences.append(f"not known: credentials changed before {format_moment(oldest)}")
    return sentences


def _end_sessions(count: int, taken_at: datetime, now: datetime) -> None:
    """End the sessions of viewers and operators, and what is about to become one: mailed links, pending flows."""
    end_all_sessions(None, f"restored from a backup of {format_moment(taken_at)}", count)
    execute_in_session(sa.update(OperatorSession).where(OperatorSession.ended_at.is_(None)).values(ended_at=now))
    is_open = (MailedToken.used_at.is_(None), MailedToken.kind.not_in(KEPT_TOKEN_KINDS))
    execute_in_session(sa.update(MailedToken).where(*is_open).values(used_at=now))
    execute_in_session(sa.update(PendingFlow).where(PendingFlow.used_at.is_(None)).values(used_at=now))


def _revoke_credentials(found: Tombstones, since: datetime, now: datetime, report: RestoreReport) -> None:
    changed = list_since(found.passwords, since)
    report.passwords += _remove_passwords(Account, changed)
    report.operators += _remove_passwords(OperatorAccount, changed)
    of_account = list_since(found.factors, since)
    for factor, ids in ((Passkey, found.passkeys), (Identity, found.identities)):
        is_removed = sa.or_(factor.id.in_(list_since(ids, since)), factor.account_id.in_(of_account))
        report.factors += execute_in_session(sa.delete(factor).where(is_removed))
    replaced = list_since(found.recovery_codes, since)
    report.factors += execute_in_session(sa.delete(RecoveryCode).where(RecoveryCode.account_id.in_(replaced)))
    is_active = (OperatorAccount.id.in_(list_since(found.operators, since)), OperatorAccount.status == "active")
    disable = sa.update(OperatorAccount).where(*is_active).values(status="disabled").returning(OperatorAccount.id)
    report.operators += db.session.scalars(disable)
    is_enabled = (Account.id.in_(found.disabled.keys()), Account.status == "active")
    values = {"status": "disabled", "status_reason": "disabled before a restore"}
    report.disabled += db.session.scalars(sa.update(Account).where(*is_enabled).values(values).returning(Account.id))
    is_live = (ApiKey.id.in_(found.api_keys.keys()), ApiKey.revoked_at.is_(None))
    revoke = sa.update(ApiKey).where(*is_live).values(revoked_at=now).returning(ApiKey.id)
    report.api_keys += db.session.scalars(revoke)
    existing = sa.select(Account.id).where(Account.id.in_(list_since(found.emails, since)), Account.status != "deleted")
    report.open += [f"{key} has its former email address again" for key in db.session.scalars(existing)]


def _remove_passwords(model: type[Account] | type[OperatorAccount], changed: set[str]) -> list[str]:
    """Remove the former passwords of these accounts or operators; returns the ids of those that had one."""
    has_password = (model.id.in_(changed), model.password_hash.is_not(None))
    return list(
        db.session.scalars(sa.update(model).where(*has_password).values(password_hash=None).returning(model.id))
    )


def _hold_subscriptions(found: Tombstones, now: datetime, report: RestoreReport) -> None:
    """Put subscriptions that were changed or canceled since on billing hold: they would be charged as they were."""
    last = sa.select(SubscriptionEvent.subscription_id, sa.func.max(SubscriptionEvent.seq))
    last = last.where(SubscriptionEvent.subscription_id.in_(found.subscriptions.keys()))
    rows = db.session.execute(last.group_by(SubscriptionEvent.subscription_id))
    changed = [key for key, seq in rows if seq < found.subscriptions[key]]
    is_billed = (Subscription.id.in_(changed), Subscription.status.in_(LIVE_STATUSES))
    hold = sa.update(Subscription).where(*is_billed, Subscription.billing_held_at.is_(None))
    reason = "it was changed after the backup from which the database was restored"
    hold = hold.values(billing_held_at=now, billing_hold_reason=reason).returning(Subscription.id)
    report.held += db.session.scalars(hold)


def _delete_accounts(found: Tombstones, now: datetime, report: RestoreReport) -> None:
    """Delete again what was deleted. Commits once for each account."""
    rows = db.session.execute(
        sa.select(Account.id, Account.status, Account.erase_at).where(Account.id.in_([*found.erased, *found.closed]))
    ).all()
    db.session.commit()
    for account_id, status, erase_at in rows:
        is_erased = account_id in found.erased
        if status == "deleted" and (erase_at is None or not is_erased):
            continue
        try:
            (closing.erase_account if is_erased else closing.close_account)(account_id, now)
            db.session.commit()
            (report.erased if is_erased else report.closed).append(account_id)
        except PaymentInProgress:
            db.session.rollback()
            disable = sa.update(Account).where(Account.id == account_id)
            execute_in_session(disable.values(status="disabled", status_reason="deleted before a restore"))
            db.session.commit()
            report.open.append(f"{account_id} was deleted, and is only disabled: a payment is in progress")


def carry_over_sandbox_journal(source: sa.Connection) -> int:
    """Copy what the sandbox's payment provider did since from the replaced database: a bank forgets nothing. Commits.

    Returns the number of requests.
    """
    known = set(db.session.scalars(sa.select(SandboxCharge.key)))
    rows = [row._asdict() for row in source.execute(sa.select(SandboxCharge.__table__)) if row.key not in known]
    if rows:
        db.session.execute(sa.insert(SandboxCharge.__table__), rows)
    db.session.commit()
    return len(rows)
