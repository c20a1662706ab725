"""What happened to an account, in one list: audit log, sign-ins, devices, plays, mails, invoices, payments, events.

Each source is a keyset over an index of its own, newest first. A page merges their heads by time, and its cursor holds
how far each source was read.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import InstrumentedAttribute

from streamsvc.http import pagination
from streamsvc.models import AuditEvent, Channel, Device, Episode, MailedToken, Session, Stream, Title, WebhookEvent
from streamsvc.models.subscriptions import CreditNote, Invoice, Payment
from streamsvc.rules.inputs import PageInput, TimelineKind
from streamsvc.storage.database import fetch_all

SCOPE = "account timeline"
ACCOUNT_ID: sa.BindParameter[str] = sa.bindparam("account_id")


@dataclass(frozen=True)
class Source:
    """Where entries come from: the statement of an account's rows, their key and time, and who may read them."""

    scope: str
    key: InstrumentedAttribute
    at: InstrumentedAttribute
    rows: sa.Select
    describe: Callable[[Any], dict]
    """The members of an entry beside kind, id and time: {what, details?, actor?}."""


def _columns(*names: str) -> Callable[[Any], dict]:
    return lambda row: {name: getattr(row, name) for name in names}


def _describe(what: str | InstrumentedAttribute, *names: str) -> Callable[[Any], dict]:
    """Describe a row by a column, or a fixed word, and the values of these columns as details."""
    details = _columns(*names)

    def describe(row: Any) -> dict:
        word = what if isinstance(what, str) else getattr(row, what.key)
        return {"what": word, "details": {name: value for name, value in details(row).items() if value is not None}}

    return describe


def _describe_audit(row: Any) -> dict:
    return {"what": row.action, "actor": row.actor, "details": row.details or {}}


SOURCES: dict[TimelineKind, Source] = {
    "audit": Source(
        "support",
        AuditEvent.seq,
        AuditEvent.at,
        sa.select(AuditEvent.seq, AuditEvent.at, AuditEvent.action, AuditEvent.actor, AuditEvent.details).where(
            AuditEvent.account_id == ACCOUNT_ID
        ),
        _describe_audit,
    ),
    "sign_in": Source(
        "support",
        Session.id,
        Session.created_at,
        sa.select(*Session.__table__.c, Device.name.label("device"))
        .outerjoin(Device, Device.id == Session.device_id)
        .where(Session.account_id == ACCOUNT_ID),
        _describe(
            "signed_in", "device", "method", "city", "country", "ended_at", "impersonated_by", "impersonation_reason"
        ),
    ),
    "device": Source(
        "support",
        Device.id,
        Device.created_at,
        sa.select(*Device.__table__.c).where(Device.account_id == ACCOUNT_ID),
        _describe("device_added", "name", "kind", "last_seen_at"),
    ),
    "play": Source(
        "support",
        Stream.id,
        Stream.started_at,
        sa.select(
            *Stream.__table__.c,
            sa.func.coalesce(Title.title, Channel.name).label("title"),
            Episode.season,
            Episode.number.label("episode"),
        )
        .outerjoin(Title, Title.id == Stream.title_id)
        .outerjoin(Channel, Channel.id == Stream.title_id)
        .outerjoin(Episode, Episode.id == Stream.item_id)
        .where(Stream.account_id == ACCOUNT_ID),
        _describe("played", "title", "season", "episode", "country", "watched_s", "ended_at", "end_reason"),
    ),
    "mail": Source(
        "support",
        MailedToken.id,
        MailedToken.created_at,
        sa.select(*MailedToken.__table__.c).where(MailedToken.account_id == ACCOUNT_ID),
        _describe(MailedToken.kind, "email", "expires_at", "used_at"),
    ),
    "invoice": Source(
        "billing",
        Invoice.id,
        Invoice.created_at,
        sa.select(*Invoice.__table__.c).where(Invoice.account_id == ACCOUNT_ID),
        _describe(Invoice.status, "number", "reason", "currency", "total_minor", "amount_paid_minor"),
    ),
    "payment": Source(
        "billing",
        Payment.id,
        Payment.created_at,
        sa.select(*Payment.__table__.c).where(Payment.account_id == ACCOUNT_ID),
        _describe(Payment.status, "invoice_id", "currency", "amount_minor", "refunded_minor", "decline_code"),
    ),
    "credit_note": Source(
        "billing",
        CreditNote.id,
        CreditNote.issued_at,
        sa.select(*CreditNote.__table__.c).where(CreditNote.account_id == ACCOUNT_ID),
        _describe("credited", "number", "invoice_id", "currency", "total_minor", "reason"),
    ),
    "event": Source(
        "support",
        WebhookEvent.id,
        WebhookEvent.at,
        sa.select(*WebhookEvent.__table__.c).where(WebhookEvent.account_id == ACCOUNT_ID),
        lambda row: {"what": row.kind, "details": row.data},
    ),
}


def list_timeline(account_id: str, kinds: Collection[TimelineKind], query: PageInput) -> dict:
    """Return a page of the account's entries of these kinds, newest first."""
    position = pagination.decode_cursor(SCOPE, query["cursor"])
    read_to: dict[str, Any] = position[0] if position else {}
    heads = {kind: _read_source(kind, account_id, read_to.get(kind), query["limit"] + 1) for kind in sorted(kinds)}
    items: list[dict] = []
    while len(items) < query["limit"] and (unread := [kind for kind, rows in heads.items() if rows]):
        newest = max(unread, key=lambda kind: heads[kind][0]["at"])
        entry = heads[newest].pop(0)
        read_to = read_to | {newest: entry.pop("key")}
        items.append(entry)
    has_more = any(heads.values())
    page = {"items": items, "next_cursor": pagination.encode_cursor(SCOPE, [read_to]) if has_more else None}
    return page | (pagination.total_members(len(items), has_more) if query["include_total"] else {})


def _read_source(kind: TimelineKind, account_id: str, after: Any, limit: int) -> list[dict]:
    """Read the next rows of a source as entries with their `key`."""
    source = SOURCES[kind]
    rows = source.rows if after is None else source.rows.where(source.key < after)
    entries = []
    for row in fetch_all(rows.order_by(source.key.desc()).limit(limit), {"account_id": account_id}):
        key = getattr(row, source.key.key)
        entry = {"kind": kind, "id": str(key), "at": getattr(row, source.at.key), "actor": None, "key": key}
        entries.append(entry | source.describe(row))
    return entries
