"""The audit log: what matters for security, in the transaction of what happened, each row chained to the one before.

`record` only notes the event; it is written at the commit, as the last thing, so that the chain's lock is held for one
statement and is always taken after every other lock. A rollback forgets it.
"""

import hashlib
import json
import secrets
from datetime import datetime

import sqlalchemy as sa
from flask import has_request_context, request
from sqlalchemy import event

from streamsvc import clock
from streamsvc.database import Session, all_rows, db, utc_text
from streamsvc.models import AuditEvent
from streamsvc.rules.throttle import network

CHAIN_LOCK = 0x5EC0DE
GENESIS = "0" * 64
PAGE = 1_000


def record(action: str, account_id: str | None = None, actor: str | None = None, **details) -> None:
    """Note what happens in this unit of work. No secret and no password belongs into the details."""
    if has_request_context():
        details |= {
            "address": network(request.remote_addr),
            "client": request.headers.get("User-Agent", "")[:200],
            "request_id": request.headers.get("X-Request-Id", "")[:128] or None,
        }
    noted = {"action": action, "account_id": account_id, "actor": actor or account_id, "at": clock.now()}
    db.session.connection()  # begins the unit of work, whose rollback forgets the event
    db.session.info.setdefault("audit", []).append(noted | {"details": details | {"salt": secrets.token_hex(8)}})


def digest(details: dict) -> str:
    """Covers the details; salted, so that nobody finds an erased address by trying them all."""
    return hashlib.sha256(json.dumps(details, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def link(previous: str, seq: int, at: datetime, action: str, account_id, actor, details_digest: str) -> str:
    """The hash of one row, over the hash of the row before."""
    text = json.dumps([previous, seq, utc_text(at), action, account_id, actor, details_digest])
    return hashlib.sha256(text.encode()).hexdigest()


def first_break() -> int | None:
    """The number of the first row that was changed, removed or put in; None where the chain holds."""
    seq, previous = 0, GENESIS
    columns = AuditEvent.__table__.c
    while rows := all_rows(sa.select(*columns).where(columns.seq > seq).order_by(columns.seq).limit(PAGE)):
        for row in rows:
            seq += 1
            told = link(previous, seq, row.at, row.action, row.account_id, row.actor, row.details_digest)
            erased = row.details is None
            if row.seq != seq or row.previous != previous or row.hash != told:
                return seq
            if not erased and digest(row.details) != row.details_digest:
                return seq
            previous = row.hash
    return None


@event.listens_for(Session, "before_commit")
def _write(session) -> None:
    noted = session.info.pop("audit", [])
    if not noted:
        return
    if session.get_bind().dialect.name == "postgresql":
        session.execute(sa.select(sa.func.pg_advisory_xact_lock(CHAIN_LOCK)))
    last = session.execute(sa.select(AuditEvent.seq, AuditEvent.hash).order_by(AuditEvent.seq.desc()).limit(1)).first()
    seq, previous = last or (0, GENESIS)
    rows = []
    for row in noted:
        seq += 1
        covered = digest(row["details"])
        own = link(previous, seq, row["at"], row["action"], row["account_id"], row["actor"], covered)
        rows.append(row | {"seq": seq, "details_digest": covered, "previous": previous, "hash": own})
        previous = own
    session.execute(sa.insert(AuditEvent.__table__), rows)


@event.listens_for(Session, "after_soft_rollback")
def _forget(session, previous_transaction) -> None:
    session.info.pop("audit", None)
