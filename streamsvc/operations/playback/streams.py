"""Stream slots: a stream takes one when it starts, and frees it when it ends or expires, or its session ends.

The limit holds under concurrent requests. A claim is one statement that counts and inserts. SQLite runs one write at a
time; PostgreSQL counts from a snapshot, so there an account's claims wait for each other under an advisory lock first;
not under the account's row lock, which billing may hold. What one statement cannot do, such as freeing a slot first or
admitting a device, runs in a transaction under the same lock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from streamsvc.models import Device, Session, Stream, StreamDevice
from streamsvc.models.playback import STREAM_IS_OPEN
from streamsvc.operations.playback import device_places, playback_events
from streamsvc.rules.playback import stream_rules
from streamsvc.rules.playback.stream_rules import DeviceLimits
from streamsvc.rules.refusals.playback import StreamLimit
from streamsvc.settings import current_settings
from streamsvc.storage import lock_order
from streamsvc.storage.compiled_statements import CompiledStatement
from streamsvc.storage.database import UtcTime, db, execute_write, fetch_all, insert, new_id

NOW = sa.bindparam("now", type_=UtcTime)
SINCE = sa.bindparam("since", type_=UtcTime)
ACCOUNT_ID: sa.BindParameter[str] = sa.bindparam("account_id")


def session_is_live(stream: type[Stream]) -> sa.Exists:
    """Build the condition that a stream's session has not ended."""
    return sa.exists().where(Session.id == stream.session_id, Session.ended_at.is_(None))


def is_live(stream: type[Stream]) -> sa.ColumnElement[bool]:
    """Build the condition that a stream is live."""
    return sa.and_(stream.ended_at.is_(None), stream.expires_at > NOW, session_is_live(stream))


def live_count(account_id: Any) -> sa.ScalarSelect[int]:
    """Build the number of live streams of an account, those that take no slot left out."""
    stream = aliased(Stream)
    count = sa.select(sa.func.count()).select_from(stream)
    return count.where(stream.account_id == account_id, is_live(stream), stream.takes_slot.is_(True)).scalar_subquery()


SESSION_IS_LIVE, IS_LIVE = session_is_live(Stream), is_live(Stream)
LIVE_COUNT = live_count(ACCOUNT_ID)
LIVE_STREAMS_OF_ACCOUNT = (
    sa.select(*Stream.__table__.c, Device.name.label("device_name"), Device.kind.label("device_kind"))
    .outerjoin(Device, sa.and_(Device.id == Stream.device_id, Device.account_id == Stream.account_id))
    .where(Stream.account_id == ACCOUNT_ID, IS_LIVE)
    .order_by(Stream.id)
)
STREAM_BY_ID = CompiledStatement(
    sa.select(*Stream.__table__.c, SESSION_IS_LIVE.label("session_is_live"), LIVE_COUNT.label("current")).where(
        Stream.id == sa.bindparam("stream_id"), Stream.account_id == ACCOUNT_ID
    )
)


@dataclass(frozen=True)
class StreamRequest:
    """A stream to be started."""

    account_id: str
    profile_id: str
    session_id: str
    device_id: str
    title_id: str
    item_id: str
    country: str | None
    max_height: int | None
    media_scope: str
    """JSON of `MediaScope`."""
    plan: str | None = None
    """The code of the account's plan."""
    takes_slot: bool = True
    """False: counts towards no limit of streams or devices."""


@dataclass(frozen=True)
class StreamLimits:
    """How many streams and devices the plan allows.

    `ends_oldest`: whether a stream beyond the limit ends the oldest one. `evicts_devices`: whether a device beyond the
    limit replaces the least recently used one.
    """

    streams: int
    devices: DeviceLimits
    ends_oldest: bool = False
    evicts_devices: bool = False


def stream_limits(entitlements: Mapping[str, Any]) -> StreamLimits:
    """Return the limits of a plan, with what the settings do about a stream or a device beyond them."""
    settings = current_settings()
    devices = DeviceLimits(
        entitlements["max_devices"],
        entitlements.get("max_devices_by_kind") or {},
        entitlements.get("max_device_removals"),
    )
    is_ending, is_evicting = settings.stream_limit == "end_oldest", settings.device_limit == "evict"
    return StreamLimits(entitlements["max_streams"], devices, is_ending, is_evicting)


def list_live_streams(account_id: str, now: datetime) -> list[sa.Row]:
    """Return the account's live streams, oldest first."""
    return fetch_all(LIVE_STREAMS_OF_ACCOUNT, {"account_id": account_id, "now": now})


def find_stream(account_id: str, stream_id: str, now: datetime) -> sa.Row | None:
    """Return a stream of the account, live or ended, with `current`, the number of live streams; None if absent."""
    return STREAM_BY_ID.one(account_id=account_id, stream_id=stream_id, now=now)


def stream_end_reason(stream: sa.Row, now: datetime) -> str | None:
    """Return why a stream has ended; None while it is live."""
    if stream.ended_at is not None:
        return stream.end_reason
    if stream.expires_at <= now:
        return stream_rules.EXPIRED
    return None if stream.session_is_live else stream_rules.SIGNED_OUT


def claim_stream(request: StreamRequest, limits: StreamLimits, replace: str | None, now: datetime) -> tuple[str, int]:
    """Start a stream; return its id and the number of live streams including it. Raises DeviceLimit, StreamLimit.

    `replace` is the id of a stream to end so that this one can start.
    """
    row = _new_stream_row(request, now)
    claim = row | {"now": now, "limit": limits.streams, "since": now - stream_rules.DEVICE_USE_PRECISION}
    is_plain, dialect = replace is None and request.takes_slot, db.engine.dialect.name
    if is_plain and dialect == "sqlite" and (claimed := _claim_statement(dialect).one(**claim)):
        return row["id"], claimed.current
    try:
        _lock_claims(request.account_id)
        if is_plain and dialect == "postgresql" and (claimed := _claim_under_lock(claim)):
            current = claimed.current + 1  # its snapshot is without the new stream
        else:
            current = _claim_exclusively(request, row, limits, replace, now)
        db.session.commit()
    except BaseException:
        db.session.rollback()
        raise
    return row["id"], current


def _claim_under_lock(claim: dict) -> sa.Row | None:
    """Run the claim in the caller's transaction."""
    return db.session.connection().execute(_claim_statement("postgresql").statement, claim).first()


def _new_stream_row(request: StreamRequest, now: datetime) -> dict:
    return vars(request) | {
        "id": new_id("str"),
        "state": "starting",
        "position_s": 0,
        "watched_s": 0,
        "started_at": now,
        "seen_at": now,
        "expires_at": now + stream_rules.STREAM_TTL,
        "claimed_at": None,
        "played_at": None,
        "completed_at": None,
        "active_at": None,
        "asked_at": None,
        "ended_at": None,
        "end_reason": None,
    }


@cache
def _claim_statement(dialect: str) -> CompiledStatement:
    """Build the insert of a stream if a slot is free and the device known; returns its id and the live count.

    Inserts nothing if starts must be published, or if the device has an open stream, live or not, which must be taken
    over: of the item, or of another session.
    """
    columns = Stream.__table__.c
    is_known = sa.exists().where(
        StreamDevice.account_id == ACCOUNT_ID,
        StreamDevice.device_id == sa.bindparam("device_id"),
        StreamDevice.last_played_at > SINCE,
    )
    row = sa.select(*(sa.bindparam(column.name, type_=column.type) for column in columns))
    is_published = playback_events.has_subscriber(playback_events.STARTED)
    in_other_session = sa.exists().where(
        Stream.account_id == ACCOUNT_ID,
        Stream.device_id == sa.bindparam("device_id"),
        Stream.session_id != sa.bindparam("session_id"),
        Stream.ended_at.is_(None),
    )
    has_slot = sa.bindparam("limit", type_=sa.Integer) > LIVE_COUNT
    row = row.where(has_slot, is_known, ~is_published, ~in_other_session)
    return CompiledStatement(
        insert(Stream)
        .from_select([column.name for column in columns], row)
        .on_conflict_do_nothing(index_elements=["account_id", "device_id", "item_id"], index_where=STREAM_IS_OPEN)
        .returning(Stream.id, LIVE_COUNT.label("current"))
    )


def _claim_exclusively(
    request: StreamRequest, row: dict, limits: StreamLimits, replace: str | None, now: datetime
) -> int:
    """Start a stream in the caller's transaction, which excludes other claims of the account.

    Returns the number of live streams, including it.
    """
    live = db.session.execute(LIVE_STREAMS_OF_ACCOUNT, {"account_id": request.account_id, "now": now}).all()
    if request.takes_slot:
        _admit_device(request, limits, live, now)
    is_taken_over = sa.or_(Stream.item_id == request.item_id, Stream.session_id != request.session_id)
    on_device = Stream.device_id == request.device_id
    end_streams_uncommitted(request.account_id, now, stream_rules.TAKEN_OVER, on_device, is_taken_over)
    if replace is not None:
        end_streams_uncommitted(request.account_id, now, stream_rules.REPLACED, Stream.id == replace)
    others = [s for s in live if s.takes_slot and s.id != replace and not _is_taken_over(s, request)]
    if request.takes_slot:
        others = _make_room(request, limits, others, now)
    has_subscriber = playback_events.has_subscriber(playback_events.STARTED)
    if db.session.scalar(sa.insert(Stream).values(row).returning(has_subscriber)):
        playback_events.publish(playback_events.STARTED, [SimpleNamespace(**row)], now)
    return len(others) + request.takes_slot


def _admit_device(request: StreamRequest, limits: StreamLimits, live: Sequence[Any], now: datetime) -> None:
    busy, devices = {stream.device_id for stream in live}, limits.devices
    device_places.admit_device(
        request.account_id, request.session_id, request.device_id, devices, limits.evicts_devices, busy, now
    )


def _make_room(request: StreamRequest, limits: StreamLimits, others: list[Any], now: datetime) -> list[Any]:
    """Return the other live streams that go on, without those that end for this one. Raises StreamLimit."""
    if excess := max(0, len(others) + 1 - limits.streams) if limits.ends_oldest and limits.streams else 0:
        oldest, others = [stream.id for stream in others[:excess]], others[excess:]
        end_streams_uncommitted(request.account_id, now, stream_rules.REPLACED, Stream.id.in_(oldest))
    if len(others) >= limits.streams:
        _shorten_overlong_streams(request.account_id, now)
        raise StreamLimit(limit=limits.streams, streams=[stream_view(stream) for stream in others])
    return others


def _is_taken_over(stream: sa.Row, request: StreamRequest) -> bool:
    """Whether a stream ends because its device starts the same item again, or plays in another session now.

    Otherwise several devices that sign in under the id of one could play at once and count as one.
    """
    is_same_device = stream.device_id == request.device_id
    return is_same_device and (stream.item_id == request.item_id or stream.session_id != request.session_id)


def _shorten_overlong_streams(account_id: str, now: datetime) -> None:
    """Give the account's streams that would live longer than any heartbeat allows one more lifetime, and commit.

    They began before the service's clock was set back. Which of them are dead shows within that time: the heartbeats of
    the others extend them.
    """
    latest = now + stream_rules.STREAM_TTL
    overlong = Stream.account_id == account_id, Stream.ended_at.is_(None), Stream.expires_at > latest
    db.session.rollback()
    execute_write(sa.update(Stream).where(*overlong).values(expires_at=latest, seen_at=now))


def _lock_claims(account_id: str) -> None:
    """Exclude other claims of the account until the commit. SQLite needs no lock, since it has one writer at a time."""
    lock_order.note_lock(db.session(), lock_order.Rank.STREAM_CLAIMS, account_id)
    if db.session.get_bind().dialect.name == "postgresql":
        key = sa.func.hashtextextended(f"streams of {account_id}", 0)
        db.session.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))


def end_streams_uncommitted(account_id: str, now: datetime, reason: str, *conditions: sa.ColumnElement[bool]) -> None:
    """End streams in the caller's transaction, and publish it."""
    end = _end_statement(account_id, now, reason, *conditions)
    ended = db.session.execute(end.returning(*Stream.__table__.c)).all()
    playback_events.publish_if_subscribed(playback_events.ENDED, ended, now)


def end_streams(account_id: str, now: datetime, reason: str, *conditions: sa.ColumnElement[bool]) -> None:
    """End the account's unexpired streams that meet `conditions`, in a transaction of its own."""
    are_unexpired = (Stream.expires_at > now, *conditions)
    if not playback_events.is_subscribed(playback_events.ENDED):
        execute_write(_end_statement(account_id, now, reason, *are_unexpired))
        return
    end_streams_uncommitted(account_id, now, reason, *are_unexpired)
    db.session.commit()


def _end_statement(account_id: str, now: datetime, reason: str, *conditions: sa.ColumnElement[bool]) -> sa.Update:
    """Build the update that ends open streams; those already expired end as such, at the time they expired."""
    has_expired = Stream.expires_at <= now
    return (
        sa.update(Stream)
        .where(Stream.account_id == account_id, Stream.ended_at.is_(None), *conditions)
        .values(
            ended_at=sa.case((has_expired, Stream.expires_at), else_=now),
            end_reason=sa.case((has_expired, stream_rules.EXPIRED), else_=reason),
        )
    )


ALL_LIVE_STREAMS = (
    sa.select(*Stream.__table__.c, Device.name.label("device_name"), Device.kind.label("device_kind"))
    .outerjoin(Device, sa.and_(Device.id == Stream.device_id, Device.account_id == Stream.account_id))
    .where(IS_LIVE)
    .order_by(Stream.id.desc())
)
"""The live streams of all accounts, newest first: a scan of the index of open streams."""


def stream_view(stream: sa.Row) -> dict:
    """Return a live stream as in StreamOut."""
    return {
        "stream_id": stream.id,
        "item_id": stream.item_id,
        "title_id": stream.title_id,
        "profile_id": stream.profile_id,
        "device": {"id": stream.device_id, "name": stream.device_name, "kind": stream.device_kind},
        "takes_slot": stream.takes_slot,
        "state": stream.state,
        "position_s": stream.position_s,
        "started_at": stream.started_at,
        "seen_at": stream.seen_at,
    }
