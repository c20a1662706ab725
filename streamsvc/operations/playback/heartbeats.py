"""Heartbeats: what a player reports while it plays, and the beacon with which a browser's page reports its end."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

import sqlalchemy as sa

from streamsvc.models import Profile, Stream
from streamsvc.models.progress import save_heartbeat, save_play
from streamsvc.operations.catalog.reading.audience import stream_viewer_facts
from streamsvc.operations.playback import playback_events, streams
from streamsvc.operations.playback.grants import issue_grant
from streamsvc.operations.playback.items import ITEM_COLUMNS, join_item
from streamsvc.operations.playback.live_items import find_live_item, is_live_id
from streamsvc.operations.playback.media import manifest_views
from streamsvc.operations.playback.playables import Playable
from streamsvc.operations.playback.policy import progress_policy
from streamsvc.rules.geography import Origin
from streamsvc.rules.playback import progress, still_watching, stream_rules
from streamsvc.rules.playback.access import decide_access
from streamsvc.rules.playback.inputs import BeaconInput, HeartbeatInput
from streamsvc.rules.playback.progress import ReportTime, StreamClock
from streamsvc.rules.playback.still_watching import Activity
from streamsvc.rules.playback.tokens import is_expired
from streamsvc.rules.refusals.playback import DeviceMismatch, GrantInvalid, StreamEnded
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.security import playback_tokens
from streamsvc.security.joined_reads import JoinedRead
from streamsvc.security.viewers import Viewer
from streamsvc.settings import current_settings
from streamsvc.storage.compiled_statements import CompiledStatement
from streamsvc.storage.database import UtcTime, db
from streamsvc.storage.durability import Relaxed

_STREAM_WITH_ITEM = (
    sa.select(
        *Stream.__table__.c,
        streams.SESSION_IS_LIVE.label("session_is_live"),
        streams.live_count(Stream.account_id).label("current"),
        playback_events.has_subscriber(playback_events.COMPLETED).label("publishes_completed"),
        playback_events.has_subscriber(playback_events.ENDED).label("publishes_ended"),
        *ITEM_COLUMNS,
    )
    .select_from(join_item(Stream.__table__, Stream.title_id, Stream.item_id))
    .where(Stream.id == sa.bindparam("stream_id"))
)
STREAM_WITH_ITEM = CompiledStatement(_STREAM_WITH_ITEM.where(Stream.account_id == streams.ACCOUNT_ID))
STREAM_READ = JoinedRead(_STREAM_WITH_ITEM, owner="account_id")


def choose_stream_read(**_: Any) -> JoinedRead:
    """Return the read of the viewer's stream together with the viewer."""
    return STREAM_READ


@dataclass(frozen=True)
class Heartbeat:
    """A player's report on its stream, dated."""

    position_s: int
    duration_s: int | None
    state: str
    at: datetime
    claimed_at: datetime | None
    """The time by the player's clock."""
    is_overtaken: bool
    """Whether a later heartbeat of the stream arrived first."""
    played_at: datetime | None
    """When playing began; None if it has not begun."""
    is_news: bool
    """Whether it says more than the stream's latest heartbeat did."""
    activity: Activity

    @classmethod
    def of(cls, stream: Any, report: HeartbeatInput | BeaconInput, now: datetime, is_live: bool) -> "Heartbeat":
        """Return the heartbeat that a loaded HeartbeatIn or BeaconIn stands for."""
        state, position_s, claimed_at = report["state"], report["position_s"], report["at"]
        player = StreamClock(stream.started_at, stream.claimed_at, stream.seen_at, stream_rules.STREAM_TTL, is_live)
        at = progress.date_heartbeat(claimed_at, player, now)
        begins = stream.played_at is None and state in stream_rules.PLAYED_STATES
        is_news = begins or position_s != stream.position_s or state == "ended"
        is_overtaken = progress.is_overtaken(claimed_at, player, now)
        played_at = at if begins else stream.played_at
        activity = _latest_activity(stream, report, now)
        return cls(position_s, report["duration_s"], state, at, claimed_at, is_overtaken, played_at, is_news, activity)

    @property
    def is_final(self) -> bool:
        return self.state in stream_rules.FINAL_STATES


def record_heartbeat(
    viewer: Viewer,
    origin: Origin,
    address: str | None,
    report: HeartbeatInput,
    now: datetime,
) -> dict:
    """Extend the stream that was read with the viewer and save its position, after deciding access again.

    `report` is a loaded HeartbeatIn, `address` the client's. Raises NotFound, StreamEnded with the reason, or
    DeviceMismatch for another device's.
    """
    stream = viewer.joined
    if stream is None or stream.id is None:
        raise NotFound
    playable, profile = _find_playable(stream, now), _find_stream_profile(viewer, stream)
    end_reason = streams.stream_end_reason(stream, now)
    if end_reason is None and stream.device_id != viewer.row.device_id:
        raise DeviceMismatch(detail="This stream plays on another device; start playback on this one.")
    heartbeat = Heartbeat.of(stream, report, now, is_live=end_reason is None)
    completed_at = _save_progress(stream, playable, heartbeat, now) if playable and profile else None
    if end_reason:
        raise StreamEnded(reason=end_reason)
    reason = _denial_reason(viewer, origin, playable, stream.profile_id, now)
    if reason := reason or (stream_rules.INACTIVE if heartbeat.activity.is_over else None):
        streams.end_streams(viewer.account_id, now, reason, Stream.id == stream.id)
        raise StreamEnded(reason=reason)
    _extend_stream(stream, heartbeat, completed_at, now)
    response: dict[str, Any] = {
        "interval_s": int(stream_rules.HEARTBEAT_INTERVAL.total_seconds()),
        "max": viewer.entitlements["max_streams"],
    }
    if heartbeat.is_final:
        return response | {"current": stream.current - stream.takes_slot}
    assert playable is not None, "a stream of a removed title was ended above"
    if heartbeat.activity.asked_at:
        response["ask"] = still_watching.QUESTION
    return response | {"current": stream.current} | _renew_grant(stream, playable, address, now)


def _renew_grant(stream: Any, playable: Playable, address: str | None, now: datetime) -> dict:
    """Return the stream's new grant, and its manifests if a CDN's signer has signed them anew."""
    signed_item = playable if current_settings().media_signers else None
    grant, manifests = issue_grant(stream.id, stream, signed_item, address, now)
    unsigned = manifest_views(signed_item, stream.id, grant["token"]) if signed_item else []
    return {"grant": grant} | ({"manifests": manifests} if manifests != unsigned else {})


def record_beacon(stream_id: str, report: BeaconInput, now: datetime) -> None:
    """Save the last position of a stream and end it, from a loaded BeaconIn, which proves itself by the stream's grant.

    Does nothing if the stream's session has ended. Raises GrantInvalid.
    """
    keys = playback_tokens.media_keys(current_settings().secret_key)
    claims = playback_tokens.decode_claims(report["grant"], keys)
    if not claims or claims["sub"] != stream_id or is_expired(claims, now):
        raise GrantInvalid
    stream = STREAM_WITH_ITEM.one(account_id=claims["account"], stream_id=stream_id, now=now)
    if stream is None or not stream.session_is_live:
        return
    is_live = streams.stream_end_reason(stream, now) is None
    heartbeat, playable = Heartbeat.of(stream, report, now, is_live), _find_playable(stream, now)
    profile = Profile.find_row(stream.account_id, stream.profile_id)
    completed_at = _save_progress(stream, playable, heartbeat, now) if playable and profile else None
    if is_live:
        _extend_stream(stream, heartbeat, completed_at, now)


def _latest_activity(stream: Any, report: HeartbeatInput | BeaconInput, now: datetime) -> Activity:
    """Return what the report says of the viewer's activity. Both of its times are by the player's clock."""
    previous = Activity(stream.active_at or stream.started_at, stream.asked_at)
    acted_at: datetime | None = cast(dict[str, Any], report).get("interaction_at")
    sent_at = report["at"]
    idle = sent_at - acted_at if acted_at and sent_at else None
    ask_after = timedelta(seconds=current_settings().still_watching_after_s)
    return still_watching.latest_activity(previous, (stream.state, report["state"]), idle, ask_after, now)


def _find_playable(stream: Any, now: datetime) -> Playable | None:
    """Return the item of a row of STREAM_WITH_ITEM; None if it was removed from the catalogue.

    Of a live channel with the programme that is on now.
    """
    if is_live_id(stream.item_id):
        return find_live_item(stream.item_id, None, now)
    return Playable(stream) if stream.pk is not None else None


def _find_stream_profile(viewer: Viewer, stream: sa.Row) -> Any | None:
    """Return the profile that started a stream; None if it no longer exists."""
    return next((profile for profile in viewer.profiles if profile.profile_id == stream.profile_id), None)


def _denial_reason(
    viewer: Viewer, origin: Origin, playable: Playable | None, profile_id: str | None, now: datetime
) -> str | None:
    """Return why a stream must end, by the facts of the profile that started it; None if it may continue."""
    if playable is None:
        return stream_rules.TITLE_REMOVED
    facts = stream_viewer_facts(viewer, origin, profile_id)
    return decide_access(playable.facts_for(facts), facts, now).reason


def _save_progress(stream: Any, playable: Playable, heartbeat: Heartbeat, now: datetime) -> datetime | None:
    """Save the position, and the play when it begins or is complete; return when the item was complete, or None.

    Nothing is saved before playing begins, nor of a heartbeat that only repeats the position: another device may be
    further by now. Of a live channel only the play is saved, and of an extra nothing but that it was complete.
    """
    if heartbeat.played_at is None or not heartbeat.is_news:
        return stream.completed_at
    if playable.is_extra:
        return stream.completed_at or (heartbeat.at if heartbeat.state == "ended" else None)
    item = playable.item
    if playable.is_live:
        if stream.played_at is None:
            save_play(stream.profile_id, item, stream.id, stream.started_at, None)
        return None
    report = progress.normalize_report(
        item,
        heartbeat.position_s,
        heartbeat.duration_s,
        ReportTime(heartbeat.at, heartbeat.at),
        progress_policy(),
        restarted_at=stream.started_at,
        ended=heartbeat.state == "ended",
    )
    save_heartbeat(stream.profile_id, item, report, now)
    completed_at = stream.completed_at or report.watched_at
    if stream.played_at is None or stream.completed_at != completed_at:
        save_play(stream.profile_id, item, stream.id, stream.started_at, completed_at)
    return completed_at


def _extend_stream(stream: Any, heartbeat: Heartbeat, completed_at: datetime | None, now: datetime) -> None:
    """Save the heartbeat on the stream. Raises StreamEnded if the stream ended in the meantime."""
    latest = stream if heartbeat.is_overtaken else heartbeat
    watched_s = stream_rules.watched_seconds(stream.state, stream.seen_at, now) if heartbeat.played_at else 0
    values = dict(
        stream_id=stream.id,
        now=now,
        new_expires_at=now if heartbeat.is_final else now + stream_rules.STREAM_TTL,
        new_position_s=latest.position_s,
        new_state=heartbeat.state if heartbeat.is_final else latest.state,
        new_claimed_at=latest.claimed_at,
        new_played_at=heartbeat.played_at,
        new_completed_at=completed_at,
        new_active_at=heartbeat.activity.active_at,
        new_asked_at=heartbeat.activity.asked_at,
        read_seen_at=stream.seen_at,
        added_s=watched_s,
    )
    is_completed = stream.completed_at is None and completed_at is not None
    news = {
        playback_events.COMPLETED: is_completed and stream.publishes_completed,
        playback_events.ENDED: heartbeat.is_final and stream.publishes_ended,
    }
    kinds = [kind for kind, is_published in news.items() if is_published]
    begins = stream.played_at is None and heartbeat.played_at is not None
    statement = FINAL_HEARTBEAT if heartbeat.is_final else FIRST_HEARTBEAT if begins else HEARTBEAT
    if not (_extend_and_publish(statement, values, kinds, now) if kinds else statement.execute_write(**values)):
        ended = streams.find_stream(stream.account_id, stream.id, now)
        raise StreamEnded(reason=streams.stream_end_reason(ended or stream, now))


def _extend_and_publish(statement: CompiledStatement, values: dict[str, Any], kinds: list, now: datetime) -> bool:
    """Save the heartbeat and publish events of these kinds in one transaction; return whether the stream was live.

    A heartbeat that arrived at the same time may already have published that the item was complete.
    """
    state = sa.select(Stream.completed_at).where(Stream.id == values["stream_id"]).with_for_update()
    is_complete = db.session.scalar(state) is not None
    update = cast(sa.Update, statement.statement)
    rows = db.session.execute(update.returning(*Stream.__table__.c), values).all()
    for kind in kinds:
        if kind != playback_events.COMPLETED or not is_complete:
            playback_events.publish_if_subscribed(kind, rows, now)
    db.session.commit()
    return bool(rows)


def _heartbeat_statement(relaxed: Relaxed | None, **final_values: Any) -> CompiledStatement:
    """Build the guarded update of a heartbeat, which leaves an ended or expired stream unchanged.

    Of heartbeats that arrive at the same time, one counts the time since the last one before, and none takes back that
    the item was begun or complete.
    """
    is_next = Stream.seen_at == sa.bindparam("read_seen_at", type_=UtcTime)
    is_live = Stream.ended_at.is_(None), Stream.expires_at > streams.NOW
    statement = sa.update(Stream).where(Stream.id == sa.bindparam("stream_id"), *is_live)
    return CompiledStatement(
        statement.values(
            position_s=sa.bindparam("new_position_s", type_=sa.Integer),
            state=sa.bindparam("new_state", type_=sa.String),
            seen_at=streams.NOW,
            expires_at=sa.bindparam("new_expires_at", type_=UtcTime),
            claimed_at=sa.bindparam("new_claimed_at", type_=UtcTime),
            played_at=sa.func.coalesce(Stream.played_at, sa.bindparam("new_played_at", type_=UtcTime)),
            completed_at=sa.func.coalesce(Stream.completed_at, sa.bindparam("new_completed_at", type_=UtcTime)),
            active_at=sa.bindparam("new_active_at", type_=UtcTime),
            asked_at=sa.bindparam("new_asked_at", type_=UtcTime),
            watched_s=Stream.watched_s + sa.case((is_next, sa.bindparam("added_s", type_=sa.Integer)), else_=0),
            **final_values,
        ),
        relaxed,
    )


HEARTBEAT = _heartbeat_statement(Relaxed.STREAM_HEARTBEAT)
FIRST_HEARTBEAT = _heartbeat_statement(None)
"""Durable: a stream that forgot that it is played would not save where it ends."""
FINAL_HEARTBEAT = _heartbeat_statement(None, ended_at=streams.NOW, end_reason=stream_rules.STOPPED)
