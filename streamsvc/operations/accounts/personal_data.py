"""Personal data: exported in full to its owner, and erased except for what tax law requires.

Both follow the foreign keys between tables, so that a new table is exported automatically. How erasure treats it must
be declared in one of the three sets below; a test fails for a table that is in none of them.
"""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from streamsvc.models import Account, AuditEvent, Device, Job, Session, WebhookDelivery, WebhookEvent
from streamsvc.models.subscriptions import GiftPurchase, StoreTransaction
from streamsvc.operations.outbox import audit, security_events
from streamsvc.rules.webhooks import PLAYBACK_EVENTS
from streamsvc.storage.database import db, fetch_all, lock_existing_row

RETAINED_FOR_TAX = {
    "accounts",
    "credit_note_lines",
    "credit_notes",
    "discounts",
    "events",
    "gift_codes",
    "invoice_lines",
    "invoices",
    "ledger_entries",
    "payment_methods",
    "payments",
    "payouts",
    "price_migration_targets",
    "referrals",
    "refunds",
    "subscription_addon_prices",
    "subscription_events",
    "subscriptions",
    "tax_id_checks",
    "tax_ids",
    "webhook_deliveries",
}
ANONYMIZED = {"audit_events", "devices", "gift_purchases", "sessions", "store_transactions"}
"""The row stays; its personal columns are cleared."""
ERASED = {
    "account_recoveries",
    "billing_addresses",
    "pending_flows",
    "credential_changes",
    "device_codes",
    "device_trusts",
    "freed_device_places",
    "identities",
    "passkeys",
    "phone_verifications",
    "phones",
    "plays",
    "profiles",
    "progress",
    "provider_customers",
    "mailed_tokens",
    "ratings",
    "recovery_codes",
    "referral_codes",
    "sandbox_account_clocks",
    "store_purchases",
    "store_subscriptions",
    "stream_devices",
    "streams",
    "totp_factors",
    "usernames",
    "watchlist",
}
SECRET_SUFFIXES = ("_hash", "_encrypted", "fingerprint", "request_key")
OPERATOR_ONLY_DETAILS = ("address", "client")
"""Request details of events by others than the owner, which are not exported to the owner."""
_SESSION_COLUMNS = (
    *("profile_id", "address", "city", "country", "latitude", "longitude", "radius_km"),
    *("user_agent", "dpop_jkt", "impersonation_reason"),
)
"""What is cleared of the sessions of an erased account."""
NOT_EXPORTED = {"pending_flows", "device_codes", "mailed_tokens"}


def ownership_condition(table: sa.Table, account_id: str | sa.Select[Any]) -> sa.ColumnElement[bool] | None:
    """Return the condition under which a row of `table` belongs to the account; None if its rows belong to none.

    `account_id` may select several accounts.
    """
    if table.name == "accounts":
        return _is_owner(table.c.id, account_id)
    if "account_id" in table.c:
        return _is_owner(table.c.account_id, account_id)
    for key in sorted(table.foreign_keys, key=lambda foreign_key: foreign_key.parent.name):
        parent = key.column.table
        condition = ownership_condition(parent, account_id) if parent is not table else None
        if condition is not None:
            return key.parent.in_(sa.select(key.column).where(condition))
    return None


def _is_owner(column: sa.Column, account_id: str | sa.Select[Any]) -> sa.ColumnElement[bool]:
    return column == account_id if isinstance(account_id, str) else column.in_(account_id)


def export_personal_data(account_id: str, now: datetime) -> dict:
    """Return every row about the account, without hashes and secrets: {exported_at, tables: {name: [row]}}."""
    tables = {}
    for table in db.metadata.sorted_tables:
        condition = ownership_condition(table, account_id)
        if condition is None or table.name in NOT_EXPORTED:
            continue
        columns = [column for column in table.c if not column.name.endswith(SECRET_SUFFIXES)]
        rows = fetch_all(sa.select(*columns).where(condition).order_by(*table.primary_key.columns))
        tables[table.name] = [dict(row._mapping) for row in rows]
    for event in tables["audit_events"]:
        if event["actor"] not in (account_id, "anonymous", None):
            event["details"] = {k: v for k, v in (event["details"] or {}).items() if k not in OPERATOR_ONLY_DETAILS}
    return {"exported_at": now, "tables": tables}


def erase_personal_data(account_id: str, email: str | None, now: datetime) -> None:
    """Erase a closed account except for what tax law requires, in the caller's transaction.

    `email` is the address that the account had, None if it is unknown; failed mails to it are deleted.
    """
    account = lock_existing_row(Account, account_id)
    _anonymize_rows(account, now)
    failed_mails = (Job.kind == "mail.send", Job.failed_at.is_not(None), Job.payload["to"].as_string() == email)
    db.session.execute(sa.delete(Job).where(*failed_mails))
    _delete_playback_events(account_id)
    for table in reversed(db.metadata.sorted_tables):
        if table.name in ERASED:
            _delete_owned_rows(table, account_id)
    audit.record_event("account_deleted", account_id)
    security_events.publish_account_deleted(account_id, None)


def _anonymize_rows(account: Account, now: datetime) -> None:
    """Clear the personal columns of the rows that stay."""
    account.name = account.password_hash = account.erase_at = account.store_access = None
    db.session.flush()
    payments = sa.update(StoreTransaction).where(StoreTransaction.account_id == account.id)
    db.session.execute(payments.values(account_id=None))
    cleared = dict.fromkeys(_SESSION_COLUMNS)
    db.session.execute(sa.update(Session).where(Session.account_id == account.id).values(**cleared))
    db.session.execute(sa.update(Device).where(Device.account_id == account.id).values(name="", removed_at=now))
    strangers = dict.fromkeys(("recipient_email", "recipient_name", "sender_name", "message"))
    db.session.execute(sa.update(GiftPurchase).where(GiftPurchase.account_id == account.id).values(**strangers))
    db.session.execute(sa.update(AuditEvent).where(AuditEvent.account_id == account.id).values(details=sa.null()))


def _delete_playback_events(account_id: str | sa.Select[Any]) -> None:
    """Delete the events that say what an account watched, with their deliveries."""
    is_own = (_is_owner(WebhookEvent.__table__.c.account_id, account_id), WebhookEvent.kind.in_(PLAYBACK_EVENTS))
    events = sa.select(WebhookEvent.id).where(*is_own)
    db.session.execute(sa.delete(WebhookDelivery).where(WebhookDelivery.event_id.in_(events)))
    db.session.execute(sa.delete(WebhookEvent).where(*is_own))


def delete_guest_rows(guest_ids: sa.Select[Any]) -> None:
    """Delete what the selected guests own, in the caller's transaction: nothing of theirs is kept for tax."""
    _delete_playback_events(guest_ids)
    for table in reversed(db.metadata.sorted_tables):
        if table.name in ERASED | {"sessions", "devices"}:
            _delete_owned_rows(table, guest_ids)


def _delete_owned_rows(table: sa.Table, account_id: str | sa.Select[Any]) -> None:
    condition = ownership_condition(table, account_id)
    if condition is not None:
        db.session.execute(sa.delete(table).where(condition))


def erase_profile_data(profile_id: str) -> None:
    """Delete the viewing data of one profile, in the caller's transaction."""
    for table in reversed(db.metadata.sorted_tables):
        for key in table.foreign_keys:
            if key.column.table.name == "profiles" and table.name in ERASED:
                db.session.execute(sa.delete(table).where(key.parent == profile_id))
