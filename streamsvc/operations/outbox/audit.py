"""The audit log: what matters for security, in the transaction of what happened, each row chained to the one before.

`record` only notes the event; it is written at the commit, as the last thing, so that the chain's lock is held for one
statement and is always taken after every other lock. A rollback forgets it. What an operator changes is told even
where no event names it: then the call itself is the event. Who is turned away in spite of a good token is told, too.
"""

import hashlib
import json
import secrets
from datetime import datetime

import sqlalchemy as sa
from flask import g, has_request_context, request
from sqlalchemy import event

from streamsvc import clock
from streamsvc.http.edge import current_request_id
from streamsvc.models import AuditEvent
from streamsvc.rules.rate_limits import AUTHZ_FAILURE, source_network
from streamsvc.security import rate_limits
from streamsvc.security.authentication import Viewer, authz_failed, current_operator
from streamsvc.security.operators import Operator
from streamsvc.storage.database import SAFE_METHODS, Session, db, fetch_all, format_utc, write_transaction

CHAIN_LOCK = 0x5EC0DE
GENESIS = "0" * 64
PAGE_SIZE = 1_000


def record_event(action: str, account_id: str | None = None, actor: str | None = None, **details) -> None:
    """Note what happens in this unit of work. No secret and no password belongs into the details.

    The actor is who is named, else the account's owner, else the operator who asks.
    """
    who = current_operator() if has_request_context() else None
    db.session.connection()  # begins the unit of work, whose rollback forgets the event
    noted = _event_row(action, account_id, actor or account_id or (who and who.id), details)
    db.session.info.setdefault("audit", []).append(noted)


@authz_failed.connect
def _record_denial(principal: Viewer | Operator, reason: str) -> None:
    """An `authz_fail` of its own, since what was refused commits nothing; the first of its kind within an hour."""
    owner = None if isinstance(principal, Operator) else principal.account_id
    actor = principal.id if isinstance(principal, Operator) else principal.row.impersonated_by or owner
    door = AUTHZ_FAILURE, f"{actor} {request.endpoint} {reason}"
    if rate_limits.resets_in([door]):
        return
    with write_transaction() as connection:
        if rate_limits.Counters(connection).count_first_seen(*door):
            call = f"{request.method} {request.url_rule}"
            _append_events(connection, [_event_row("authz_fail", owner, actor, {"call": call, "why": reason})])


def _event_row(action: str, account_id: str | None, actor: str | None, details: dict) -> dict:
    """What is kept of an event, but for its place in the chain."""
    if has_request_context():
        details |= {
            "address": source_network(request.remote_addr),
            "client": request.headers.get("User-Agent", "")[:200],
            "request_id": current_request_id(),
        }
    told = {"action": action, "account_id": account_id, "actor": actor, "at": clock.now()}
    return told | {"details": details | {"salt": secrets.token_hex(8)}}


def hash_details(details: dict) -> str:
    """Covers the details; salted, so that nobody finds an erased address by trying them all."""
    return hashlib.sha256(json.dumps(details, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def hash_event(previous: str, seq: int, at: datetime, action: str, account_id, actor, details_digest: str) -> str:
    """The hash of one row, over the hash of the row before."""
    text = json.dumps([previous, seq, format_utc(at), action, account_id, actor, details_digest])
    return hashlib.sha256(text.encode()).hexdigest()


def find_first_break() -> int | None:
    """The number of the first row that was changed, removed or put in; None where the chain holds."""
    seq, previous = 0, GENESIS
    columns = AuditEvent.__table__.c
    while rows := fetch_all(sa.select(*columns).where(columns.seq > seq).order_by(columns.seq).limit(PAGE_SIZE)):
        for row in rows:
            seq += 1
            told = hash_event(previous, seq, row.at, row.action, row.account_id, row.actor, row.details_digest)
            erased = row.details is None
            if row.seq != seq or row.previous != previous or row.hash != told:
                return seq
            if not erased and hash_details(row.details) != row.details_digest:
                return seq
            previous = row.hash
    return None


@event.listens_for(Session, "before_commit")
def _write_events(session) -> None:
    _record_operator_call(session)
    if noted := session.info.pop("audit", []):
        _append_events(session, noted)


def _append_events(transaction: Session | sa.Connection, events: list[dict]) -> None:
    """Put events at the chain's end, which is held until the transaction ends."""
    if db.engine.dialect.name == "postgresql":
        transaction.execute(sa.select(sa.func.pg_advisory_xact_lock(CHAIN_LOCK)))
    newest = sa.select(AuditEvent.seq, AuditEvent.hash).order_by(AuditEvent.seq.desc()).limit(1)
    last = transaction.execute(newest).first()
    seq, previous = last or (0, GENESIS)
    rows = []
    for row in events:
        seq += 1
        covered = hash_details(row["details"])
        own = hash_event(previous, seq, row["at"], row["action"], row["account_id"], row["actor"], covered)
        rows.append(row | {"seq": seq, "details_digest": covered, "previous": previous, "hash": own})
        previous = own
    transaction.execute(sa.insert(AuditEvent.__table__), rows)


def _record_operator_call(session) -> None:
    """Once a request: an operator's changing call that no event tells of, unless it was rolled back."""
    who = current_operator() if has_request_context() else None
    if who is None or request.method in SAFE_METHODS or g.get("operator_told"):
        return
    g.operator_told = True
    if not any(row["actor"] == who.id for row in session.info.get("audit", [])):
        about = dict(request.view_args or {})
        call = f"{request.method} {request.url_rule}"
        record_event("operator_call", about.pop("account_id", None), actor=who.id, call=call, **about)


@event.listens_for(Session, "after_soft_rollback")
def _discard_events(session, previous_transaction) -> None:
    session.info.pop("audit", None)
    if has_request_context():
        g.operator_told = True
