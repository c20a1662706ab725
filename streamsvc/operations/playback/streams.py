"""Places: a stream takes one when it starts, and gives it back when it ends, expires, or its session does.

The limit holds whoever asks at the same time. SQLite lets one statement write at a time, so there the claim is one
statement that counts and inserts; PostgreSQL counts from a snapshot, so there an account's claims wait for each other
(an advisory lock, not the account's row: nobody waits for an invoice to be written). What cannot be said in that one
statement — a place to be freed first, a device to be let in — is done in a unit of work, behind the same lock.
"""

from dataclasses import dataclass
from datetime import datetime
from functools import cache

import sqlalchemy as sa
from flask import current_app

from streamsvc.models import Device, Session, Stream, StreamDevice
from streamsvc.models.playback import STREAM_IS_OPEN
from streamsvc.operations.accounts import devices
from streamsvc.rules.playback import streaming
from streamsvc.rules.refusals.access import NotSignedIn
from streamsvc.rules.refusals.playback import DeviceLimit, StreamLimit
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.storage.compiled_statements import CompiledStatement
from streamsvc.storage.database import UtcTime, db, execute_write, fetch_all, insert, new_id

NOW = sa.bindparam("now", type_=UtcTime)
SINCE = sa.bindparam("since", type_=UtcTime)
ACCOUNT_ID = sa.bindparam("account_id")
SESSION_IS_LIVE = sa.exists().where(Session.id == Stream.session_id, Session.ended_at.is_(None))
IS_LIVE = sa.and_(Stream.ended_at.is_(None), Stream.expires_at > NOW, SESSION_IS_LIVE)
LIVE_COUNT = (
    sa.select(sa.func.count()).select_from(Stream).where(Stream.account_id == ACCOUNT_ID, IS_LIVE).scalar_subquery()
)
LIVE_STREAMS_OF_ACCOUNT = (
    sa.select(*Stream.__table__.c, Device.name.label("device_name"), Device.kind.label("device_kind"))
    .outerjoin(Device, sa.and_(Device.id == Stream.device_id, Device.account_id == Stream.account_id))
    .where(Stream.account_id == ACCOUNT_ID, IS_LIVE)
    .order_by(Stream.id)
)
STREAM_BY_ID = CompiledStatement(
    sa.select(*Stream.__table__.c, SESSION_IS_LIVE.label("session_lives"), LIVE_COUNT.label("current")).where(
        Stream.id == sa.bindparam("stream_id"), Stream.account_id == ACCOUNT_ID
    )
)


@dataclass(frozen=True)
class StreamRequest:
    """A stream that somebody wants to start."""

    account_id: str
    profile_id: str
    session_id: str
    device_id: str
    title_id: str
    item_id: str
    country: str | None
    max_height: int | None


@dataclass(frozen=True)
class StreamLimits:
    """How many streams and devices the plan allows; None: any number of devices.

    `evicts`: whether a device more takes the place of the longest unused one.
    """

    streams: int
    devices: int | None
    evicts_devices: bool = False


def evicts_devices() -> bool:
    """Whether the settings say so."""
    return current_app.extensions["settings"].device_limit == "evict"


def list_live_streams(account_id: str, now: datetime) -> list[sa.Row]:
    """The account's live streams, the oldest first."""
    return fetch_all(LIVE_STREAMS_OF_ACCOUNT, {"account_id": account_id, "now": now})


def find_stream(account_id: str, stream_id: str, now: datetime) -> sa.Row | None:
    """One stream of the account, live or over, with `current`, the number of live ones."""
    return STREAM_BY_ID.one(account_id=account_id, stream_id=stream_id, now=now)


def stream_end_reason(stream: sa.Row, now: datetime) -> str | None:
    """Why the stream is over; None while it is live."""
    if stream.ended_at is not None:
        return stream.end_reason
    if stream.expires_at <= now:
        return streaming.EXPIRED
    return None if stream.session_lives else streaming.SIGNED_OUT


def claim_stream(request: StreamRequest, limits: StreamLimits, replace: str | None, now: datetime) -> tuple[str, int]:
    """Take a place; the new stream's id and how many are live with it. Raises DeviceLimit or StreamLimit."""
    row = _new_stream_row(request, now)
    if replace is None and db.engine.dialect.name == "sqlite":
        since = now - streaming.DEVICE_USE_PRECISION
        if claimed := _claim_statement("sqlite").one(**row, now=now, limit=limits.streams, since=since):
            return claimed.id, claimed.current
    return row["id"], _claim_exclusively(request, row, limits, replace, now)


def _new_stream_row(request: StreamRequest, now: datetime) -> dict:
    return vars(request) | {
        "id": new_id("str"),
        "state": "starting",
        "position_s": 0,
        "watched_s": 0,
        "started_at": now,
        "seen_at": now,
        "expires_at": now + streaming.STREAM_TTL,
        "ended_at": None,
        "end_reason": None,
    }


@cache
def _claim_statement(dialect: str) -> CompiledStatement:
    """Takes a place if one is free and the device a known one; gives the stream's id and how many are live with it.

    What the same device has open of the same item is in the way, live or not: that place is taken over, not doubled.
    """
    columns = Stream.__table__.c
    known = sa.exists().where(
        StreamDevice.account_id == ACCOUNT_ID,
        StreamDevice.device_id == sa.bindparam("device_id"),
        StreamDevice.last_played_at > SINCE,
    )
    row = sa.select(*(sa.bindparam(column.name, type_=column.type) for column in columns))
    row = row.where(sa.bindparam("limit", type_=sa.Integer) > LIVE_COUNT, known)
    return CompiledStatement(
        insert(Stream)
        .from_select([column.name for column in columns], row)
        .on_conflict_do_nothing(index_elements=["account_id", "device_id", "item_id"], index_where=STREAM_IS_OPEN)
        .returning(Stream.id, LIVE_COUNT.label("current"))
    )


def _claim_exclusively(
    request: StreamRequest, row: dict, limits: StreamLimits, replace: str | None, now: datetime
) -> int:
    """The same in a unit of work that no other claim of the account runs beside; how many are live with it."""
    try:
        _lock_claims(request.account_id)
        live = db.session.execute(LIVE_STREAMS_OF_ACCOUNT, {"account_id": request.account_id, "now": now}).all()
        _admit_device(request, limits, live, now)
        own = Stream.device_id == request.device_id, Stream.item_id == request.item_id
        _end_streams_uncommitted(request.account_id, now, streaming.TAKEN_OVER, *own)
        _end_streams_uncommitted(request.account_id, now, streaming.REPLACED, Stream.id == replace)
        left = [s for s in live if s.id != replace and (s.device_id, s.item_id) != (request.device_id, request.item_id)]
        if len(left) >= limits.streams:
            raise StreamLimit(limit=limits.streams, streams=[stream_view(stream) for stream in left])
        db.session.execute(sa.insert(Stream).values(row))
        db.session.commit()
    except BaseException:
        db.session.rollback()
        raise
    return len(left) + 1


def _lock_claims(account_id: str) -> None:
    """Until the commit no other claim of the account runs. On SQLite every unit of work is alone in writing."""
    if db.session.get_bind().dialect.name == "postgresql":
        key = sa.func.hashtextextended(f"streams of {account_id}", 0)
        db.session.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))


def _admit_device(request: StreamRequest, limits: StreamLimits, live: list[sa.Row], now: datetime) -> None:
    """Note that the device plays. Raises DeviceLimit where it is one too many; NotSignedIn, NotFound where its session
    or itself was shut out just now."""
    since = now - streaming.DEVICE_RETENTION
    known = db.session.execute(STREAM_DEVICES, {"account_id": request.account_id, "since": since}).all()
    ids = [device.device_id for device in known]
    leaving = streaming.devices_to_evict(request.device_id, ids, limits.devices)
    if leaving is None and limits.evicts_devices:
        leaving = streaming.devices_to_evict(
            request.device_id, ids, limits.devices, _list_evictable_devices(request, known, live)
        )
    if leaving is None:
        raise DeviceLimit(limit=limits.devices, devices=[stream_device_view(device) for device in known])
    if leaving:
        devices.remove_devices(request.account_id, leaving, now, "device_evicted", by=request.device_id)
    row = {
        "account_id": request.account_id,
        "device_id": request.device_id,
        "first_played_at": now,
        "last_played_at": now,
    }
    db.session.execute(
        insert(StreamDevice)
        .values(row)
        .on_conflict_do_update(index_elements=["account_id", "device_id"], set_={"last_played_at": now})
    )


def _list_evictable_devices(request: StreamRequest, known: list[sa.Row], live: list[sa.Row]) -> list[str]:
    """The known devices on which nothing plays, the longest unused first; not the one that asks.

    Raises NotSignedIn, NotFound where a claim that went before has shut this one's session or device out.
    """
    theirs = sa.select(Session.device_id, sa.func.max(Session.last_seen_at, type_=UtcTime))
    theirs = theirs.where(Session.account_id == request.account_id).group_by(Session.device_id)
    used = dict(db.session.execute(theirs).all())
    live_session = Session.id == request.session_id, Session.ended_at.is_(None)
    asking = db.session.scalar(sa.select(Session.device_id).where(*live_session))
    if asking is None:
        raise NotSignedIn(presented=True)
    if Device.of(request.account_id, request.device_id) is None:
        raise NotFound(detail="There is no such device on your account.")
    busy = {asking, *(stream.device_id for stream in live)}
    idle = [device for device in known if device.device_id not in busy]
    idle.sort(key=lambda device: max(device.last_played_at, used.get(device.device_id, device.last_played_at)))
    return [device.device_id for device in idle]


def list_stream_devices(account_id: str, now: datetime) -> list[sa.Row]:
    """The devices that take a place of the account's, the oldest first."""
    return fetch_all(STREAM_DEVICES, {"account_id": account_id, "since": now - streaming.DEVICE_RETENTION})


STREAM_DEVICES = (
    sa.select(
        StreamDevice.device_id, StreamDevice.first_played_at, StreamDevice.last_played_at, Device.name, Device.kind
    )
    .outerjoin(Device, sa.and_(Device.id == StreamDevice.device_id, Device.account_id == StreamDevice.account_id))
    .where(
        StreamDevice.account_id == ACCOUNT_ID,
        StreamDevice.last_played_at > SINCE,
        Device.removed_at.is_(None),
    )
    .order_by(StreamDevice.first_played_at, StreamDevice.device_id)
)


def _end_streams_uncommitted(account_id: str, now: datetime, reason: str, *which) -> None:
    db.session.execute(_end_statement(account_id, now, reason, *which))


def end_streams(account_id: str, now: datetime, reason: str, *which) -> int:
    """End the account's live streams that `which` means; how many there were."""
    return execute_write(_end_statement(account_id, now, reason, Stream.expires_at > now, *which))


def _end_statement(account_id, now, reason, *which):
    """Ends open streams. One that had expired before ends as that, at the time when it did."""
    late = Stream.expires_at <= now
    return (
        sa.update(Stream)
        .where(Stream.account_id == account_id, Stream.ended_at.is_(None), *which)
        .values(
            ended_at=sa.case((late, Stream.expires_at), else_=now),
            end_reason=sa.case((late, streaming.EXPIRED), else_=reason),
        )
    )


ALL_LIVE_STREAMS = (
    sa.select(*Stream.__table__.c, Device.name.label("device_name"), Device.kind.label("device_kind"))
    .outerjoin(Device, sa.and_(Device.id == Stream.device_id, Device.account_id == Stream.account_id))
    .where(IS_LIVE)
    .order_by(Stream.id.desc())
)
"""Every account's live streams, the newest first: a walk of the index of open ones."""


def expire_and_purge_streams(now: datetime) -> None:
    """End what expired, and forget what ended long ago; in the caller's unit of work.

    Nothing waits for it: an expired stream takes no place. It keeps the index of open streams short.
    """
    expired = sa.select(Stream.id).where(Stream.ended_at.is_(None), Stream.expires_at <= now)
    ending = sa.update(Stream).where(Stream.id.in_(expired), Stream.ended_at.is_(None), Stream.expires_at <= now)
    db.session.execute(ending.values(ended_at=Stream.expires_at, end_reason=streaming.EXPIRED))
    oldest = sa.select(Stream.id).order_by(Stream.id).limit(PURGE_BATCH_SIZE)
    forgetting = sa.delete(Stream).where(Stream.id.in_(oldest), Stream.ended_at < now - streaming.STREAM_RETENTION)
    while db.session.execute(forgetting).rowcount == PURGE_BATCH_SIZE:
        continue


PURGE_BATCH_SIZE = 1_000


def stream_view(stream: sa.Row) -> dict:
    """A live stream as its account sees it."""
    return {
        "stream_id": stream.id,
        "item_id": stream.item_id,
        "title_id": stream.title_id,
        "profile_id": stream.profile_id,
        "device": {"id": stream.device_id, "name": stream.device_name, "kind": stream.device_kind},
        "state": stream.state,
        "position_s": stream.position_s,
        "started_at": stream.started_at,
        "seen_at": stream.seen_at,
    }


def stream_device_view(device: sa.Row) -> dict:
    return {
        "id": device.device_id,
        "name": device.name,
        "kind": device.kind,
        "first_played_at": device.first_played_at,
        "last_played_at": device.last_played_at,
    }
