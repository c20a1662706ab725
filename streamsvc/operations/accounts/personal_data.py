"""What is kept about somebody: told to them whole, and erased but for what tax law keeps.

Both walk the tables by their foreign keys, so a table that comes later is in the export by itself; how erasure treats
it must be said in one of the three lists below, and a test refuses a table that stands in none.
"""

from datetime import datetime

import sqlalchemy as sa

from streamsvc.models import Account, AuditEvent, Device, Job, Session
from streamsvc.operations.outbox import audit
from streamsvc.storage.database import db, fetch_all, lock_row

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
    "referrals",
    "refunds",
    "subscription_events",
    "subscriptions",
    "tax_ids",
    "webhook_deliveries",
}
ANONYMIZED = {"audit_events", "devices", "sessions"}
"""The row stays, what it tells of the person goes."""
ERASED = {
    "pending_flows",
    "device_codes",
    "device_trusts",
    "identities",
    "passkeys",
    "profiles",
    "progress",
    "mailed_tokens",
    "ratings",
    "recovery_codes",
    "referral_codes",
    "stream_devices",
    "streams",
    "totp_factors",
    "watchlist",
}
SECRET_SUFFIXES = ("_hash", "_encrypted", "fingerprint", "request_key")
OPERATOR_ONLY_DETAILS = ("address", "client")
"""What the log keeps of who did something to an account: not its owner's to know."""
NOT_EXPORTED = {"pending_flows", "device_codes", "mailed_tokens"}


def ownership_condition(table: sa.Table, account_id: str):
    """The condition under which a row of `table` belongs to the account; None where no row of it belongs to any."""
    if table.name == "accounts":
        return table.c.id == account_id
    if "account_id" in table.c:
        return table.c.account_id == account_id
    for key in sorted(table.foreign_keys, key=lambda each: each.parent.name):
        parent = key.column.table
        theirs = ownership_condition(parent, account_id) if parent is not table else None
        if theirs is not None:
            return key.parent.in_(sa.select(key.column).where(theirs))
    return None


def export_personal_data(account_id: str, now: datetime) -> dict:
    """{exported_at, tables: {name: [row]}}: every row about the account, without hashes and sealed secrets."""
    told = {}
    for table in db.metadata.sorted_tables:
        theirs = ownership_condition(table, account_id)
        if theirs is None or table.name in NOT_EXPORTED:
            continue
        columns = [column for column in table.c if not column.name.endswith(SECRET_SUFFIXES)]
        found = fetch_all(sa.select(*columns).where(theirs).order_by(*table.primary_key.columns))
        told[table.name] = [dict(row._mapping) for row in found]
    for event in told["audit_events"]:
        if event["actor"] not in (account_id, "anonymous", None):
            event["details"] = {k: v for k, v in (event["details"] or {}).items() if k not in OPERATOR_ONLY_DETAILS}
    return {"exported_at": now, "tables": told}


def erase_personal_data(account_id: str, email: str, now: datetime) -> None:
    """Keep of a closed account what tax law asks for, and nothing else; in the caller's unit of work.

    `email`: the address that it had; mails to it that never went out are dropped.
    """
    account = lock_row(Account, account_id)
    _anonymize_rows(account, now)
    unsent = (Job.kind == "mail.send", Job.failed_at.is_not(None), Job.payload["to"].as_string() == email)
    db.session.execute(sa.delete(Job).where(*unsent))
    for table in reversed(db.metadata.sorted_tables):
        if table.name in ERASED:
            _delete_owned_rows(table, account_id)
    audit.record_event("account_deleted", account_id)


def _anonymize_rows(account: Account, now: datetime) -> None:
    """Empty the rows that stay."""
    account.name = account.password_hash = account.erase_at = None
    db.session.flush()
    told = dict.fromkeys(("profile_id", "address", "city", "user_agent", "impersonation_reason"))
    db.session.execute(sa.update(Session).where(Session.account_id == account.id).values(**told))
    db.session.execute(sa.update(Device).where(Device.account_id == account.id).values(name="", removed_at=now))
    db.session.execute(sa.update(AuditEvent).where(AuditEvent.account_id == account.id).values(details=sa.null()))


def _delete_owned_rows(table: sa.Table, account_id: str) -> None:
    theirs = ownership_condition(table, account_id)
    if theirs is not None:
        db.session.execute(sa.delete(table).where(theirs))


def erase_profile_data(profile_id: str) -> None:
    """Delete all that is kept of one profile's watching, in the caller's unit of work."""
    for table in reversed(db.metadata.sorted_tables):
        for key in table.foreign_keys:
            if key.column.table.name == "profiles" and table.name in ERASED:
                db.session.execute(sa.delete(table).where(key.parent == profile_id))
