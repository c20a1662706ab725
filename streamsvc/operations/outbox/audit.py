"""The audit log: security events, written in the transaction of what they report, each row chained to the previous one.

`record_event` only queues the event. It is written by the commit, as the last statement, so that the chain's lock is
held for one statement and is always taken after every other lock; a rollback discards it. A change by an operator that
records no event of its own is logged as the call itself; `audited_changes` adds to the event what was changed. A
request that is denied in spite of a valid token is logged too. The facts of the request come from the audit context.
"""

import hashlib
import json
import secrets
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from streamsvc import clock
from streamsvc.models import AuditEvent
from streamsvc.operations.outbox.audited_changes import OPERATOR_CALL
from streamsvc.rules.rate_limits import AUTHZ_FAILURE
from streamsvc.security import rate_limits
from streamsvc.security.audit_context import get_audit_actor, get_audit_context, require_audit_context
from streamsvc.security.authorization import authz_failed
from streamsvc.security.operators import Operator
from streamsvc.security.viewers import Viewer
from streamsvc.storage import lock_order
from streamsvc.storage.database import (
    SAFE_METHODS,
    DatabaseSession,
    db,
    fetch_all,
    fetch_one,
    format_utc,
    write_transaction,
)

CHAIN_LOCK = 0x5EC0DE
GENESIS = "0" * 64
PAGE_SIZE = 1_000


def record_event(action: str, account_id: str | None = None, actor: str | None = None, **details: Any) -> None:
    """Record an event in this transaction. The details must not contain secrets or passwords.

    `object` in the details, {type, id}, is what the event can be found by. The actor defaults to the account's owner,
    then to the operator who sent the request.
    """
    db.session.connection()  # begins the transaction, whose rollback discards the event
    row = _event_row(action, account_id, actor or account_id or get_audit_actor(), details)
    db.session.info.setdefault("audit", []).append(row)


@authz_failed.connect
def _record_denial(principal: Viewer | Operator, reason: str) -> None:
    """Record an `authz_fail` event in a transaction of its own, since a denied request commits nothing.

    Only the first with the same actor, endpoint and reason within an hour is recorded.
    """
    context = require_audit_context()
    owner = None if isinstance(principal, Operator) else principal.account_id
    actor = principal.id if isinstance(principal, Operator) else principal.row.impersonated_by or owner
    limit = AUTHZ_FAILURE, f"{actor} {context.endpoint} {reason}"
    if rate_limits.resets_in([limit]):
        return
    with write_transaction() as connection:
        if rate_limits.Counters(connection).count_first_seen(*limit):
            details = {"call": context.call, "why": reason}
            _append_events(connection, [_event_row("authz_fail", owner, actor, details)])


def _event_row(action: str, account_id: str | None, actor: str | None, details: dict) -> dict:
    """Return the columns of an event, except its position in the chain."""
    context = get_audit_context()
    details = details | (context.details if context else {}) | {"salt": secrets.token_hex(8)}
    return {"action": action, "account_id": account_id, "actor": actor, "at": clock.now(), "details": details}


def hash_details(details: dict) -> str:
    """Return the digest of an event's details; their salt keeps an erased address from being guessed."""
    return hashlib.sha256(json.dumps(details, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def hash_event(previous: str, seq: int, row: Any) -> str:
    """Return the hash of an event's columns, which covers the previous row's hash."""
    values = [previous, seq, format_utc(row.at), row.action, row.account_id, row.actor, row.details_digest]
    values += [row.object_type, row.object_id] if row.object_type else []  # rows from before they existed have none
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def find_first_break(newest: int | None = None) -> int | None:
    """Find the number of the first row that was changed, removed or inserted; None if the chain is intact.

    `newest`: checks only about as many of the newest rows.
    """
    columns = AuditEvent.__table__.c
    before = sa.select(columns.seq, columns.hash).order_by(columns.seq.desc()).offset(newest).limit(1)
    seq, previous = (fetch_one(before) if newest else None) or (0, GENESIS)
    while rows := fetch_all(sa.select(*columns).where(columns.seq > seq).order_by(columns.seq).limit(PAGE_SIZE)):
        for row in rows:
            seq += 1
            expected = hash_event(previous, seq, row)
            is_erased = row.details is None
            if row.seq != seq or row.previous != previous or row.hash != expected:
                return seq
            if not is_erased and hash_details(row.details) != row.details_digest:
                return seq
            previous = row.hash
    return None


@event.listens_for(DatabaseSession, "before_commit")
def _write_events(session: DatabaseSession) -> None:
    _record_operator_call(session)
    _add_change(session.info.get("audit", []))
    if events := session.info.pop("audit", []):
        _append_events(session, events)


def _append_events(transaction: DatabaseSession | sa.Connection, events: list[dict]) -> None:
    """Append events to the chain, whose end stays locked until the transaction ends."""
    if isinstance(transaction, DatabaseSession):
        lock_order.note_lock(transaction, lock_order.Rank.AUDIT_CHAIN)
    if db.engine.dialect.name == "postgresql":
        transaction.execute(sa.select(sa.func.pg_advisory_xact_lock(CHAIN_LOCK)))
    newest = sa.select(AuditEvent.seq, AuditEvent.hash).order_by(AuditEvent.seq.desc()).limit(1)
    seq, previous = transaction.execute(newest).first() or (0, GENESIS)
    rows = []
    for event_columns in events:
        seq += 1
        named = event_columns["details"].get("object") or {"type": None, "id": None}
        row = event_columns | {"object_type": named["type"], "object_id": named["id"]}
        row |= {"details_digest": hash_details(row["details"])}
        row_hash = hash_event(previous, seq, SimpleNamespace(**row))
        rows.append(row | {"seq": seq, "previous": previous, "hash": row_hash})
        previous = row_hash
    transaction.execute(sa.insert(AuditEvent.__table__), rows)


def _record_operator_call(session: DatabaseSession) -> None:
    """Record an operator's unsafe request that recorded no event of its own and was not rolled back, once a request."""
    context = get_audit_context()
    if context is None or context.actor is None or context.method in SAFE_METHODS or context.is_call_recorded:
        return
    context.is_call_recorded = True
    if not any(row["actor"] == context.actor for row in session.info.get("audit", [])):
        details = dict(context.view_args or {})
        account_id = details.pop("account_id", None) or (context.change.account_id if context.change else None)
        record_event(OPERATOR_CALL, account_id, actor=context.actor, call=context.call, **details)


def _add_change(events: list[dict]) -> None:
    """Add what the operator's request changed to the event that reports it; to others, only which resource it is."""
    context = get_audit_context()
    change = context.change if context else None
    if context is None or change is None:
        return
    own = [row for row in events if row["actor"] == context.actor]
    reporting = [row for row in own if row["action"] in change.actions]
    for row in own:
        added = change.describe() if row in reporting[-1:] else change.identify()
        row["details"] = added | row["details"]


@event.listens_for(DatabaseSession, "after_soft_rollback")
def _discard_events(session: DatabaseSession, previous_transaction: object) -> None:
    session.info.pop("audit", None)
    if context := get_audit_context():
        context.is_call_recorded = True
