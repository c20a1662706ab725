"""Playback events: a stream started, reached the end of its item, ended.

Each is recorded in the transaction of what it reports, but only while a webhook endpoint names its kind: starts and
heartbeats are the hottest writes, and otherwise stay single statements. They carry ids and no name.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa

from streamsvc.models import WebhookEndpoint
from streamsvc.operations.outbox.webhooks import publish_event
from streamsvc.rules.webhooks import EventKind
from streamsvc.storage.compiled_statements import CompiledStatement
from streamsvc.storage.database import db, format_utc

STARTED: EventKind = "playback.started"
COMPLETED: EventKind = "playback.completed"
ENDED: EventKind = "playback.ended"


@cache
def has_subscriber(kind: EventKind) -> sa.Exists:
    """Build the condition that an endpoint names the kind of event."""
    is_named = sa.cast(WebhookEndpoint.kinds, sa.Text).like(sa.literal_column(f"'%\"{kind}\"%'"))
    return sa.exists().where(WebhookEndpoint.removed_at.is_(None), WebhookEndpoint.disabled_at.is_(None), is_named)


@cache
def _subscriber_statement(kind: EventKind) -> CompiledStatement:
    return CompiledStatement(sa.select(has_subscriber(kind).label("is_subscribed")))


def is_subscribed(kind: EventKind) -> bool:
    """Whether an endpoint names the kind of event, read outside of any transaction."""
    return bool(_subscriber_statement(kind).all()[0].is_subscribed)


def publish_if_subscribed(kind: EventKind, streams: Sequence[Any], now: datetime) -> None:
    """Publish an event about each stream, in the caller's transaction of `db.session`, if an endpoint names its kind.

    `streams` are rows of the table, as they are now.
    """
    if streams and db.session.scalar(sa.select(has_subscriber(kind))):
        publish(kind, streams, now)


def publish(kind: EventKind, streams: Sequence[Any], now: datetime) -> None:
    """Publish an event about each stream, in the caller's transaction of `db.session`."""
    for stream in streams:
        publish_event(kind, stream.account_id, now, **_stream_payload(stream))


def _stream_payload(stream: Any) -> dict:
    return {
        "stream_id": stream.id,
        "profile_id": stream.profile_id,
        "device_id": stream.device_id,
        "item_id": stream.item_id,
        "title_id": stream.title_id,
        "plan": stream.plan,
        "country": stream.country,
        "started_at": format_utc(stream.started_at),
        "completed_at": format_utc(stream.completed_at) if stream.completed_at else None,
        "ended_at": format_utc(stream.ended_at) if stream.ended_at else None,
        "reason": stream.end_reason,
        "watched_s": stream.watched_s,
    }
