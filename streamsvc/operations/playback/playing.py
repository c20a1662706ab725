"""Playback from start to end: access decided by rules/playback/access.py, a stream slot, and heartbeats."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from streamsvc.models import Device, Stream
from streamsvc.models.progress import save_progress
from streamsvc.operations.catalog.reading.audience import viewer_facts
from streamsvc.operations.playback import items, licenses, media, streams
from streamsvc.operations.playback.grants import issue_grant
from streamsvc.operations.playback.items import Playable
from streamsvc.rules.playback import progress, stream_rules
from streamsvc.rules.playback.access import ViewerFacts, decide_access
from streamsvc.rules.playback.inputs import HeartbeatInput, PlaybackInput
from streamsvc.rules.refusals.playback import StreamEnded
from streamsvc.rules.refusals.requests import Invalid, NotFound
from streamsvc.security.authentication import Viewer
from streamsvc.storage.compiled_statements import CompiledStatement
from streamsvc.storage.database import UtcTime, fetch_one


def start_playback(
    viewer: Viewer, reported_country: str | None, address: str | None, body: PlaybackInput, now: datetime
) -> dict:
    """Start a playback from a loaded PlaybackIn; return it as in PlaybackOut. `address`: the client's.

    Raises the first refusal, in the order that the API documents.
    """
    facts, device_id = viewer_facts(viewer, reported_country), _get_device_id(viewer, body["device_id"])
    found = items.find_playable(body["item_id"], viewer.profile.profile_id if viewer.profile else None)
    playable = _require_playable(found, facts, now)
    if playable.is_series:
        raise Invalid(errors={"item_id": ["Must be the id of a film or an episode, not of a series."]})
    entitlements = viewer.entitlements
    max_height = stream_rules.allowed_height(entitlements["max_height"], body["max_height"])
    if body["offline"]:
        licenses.require_downloadable(playable, max_height, entitlements)
    request = streams.StreamRequest(
        account_id=viewer.account_id,
        profile_id=viewer.row.selected_profile_id,
        session_id=viewer.row.session_id,
        device_id=device_id,
        title_id=playable.row.title_id,
        item_id=playable.row.item_id,
        country=facts.country,
        max_height=max_height,
        media_scope=media.encode_scope(media.load_media_scope(playable, max_height)),
    )
    limits = streams.StreamLimits(entitlements["max_streams"], entitlements["max_devices"], streams.evicts_devices())
    stream_id, current = streams.claim_stream(request, limits, body["replace"], now)
    response = _playback_view(stream_id, current, request, limits, playable, address, now)
    playable_until = decide_access(playable.facts, facts, now).ends_at
    if drm := licenses.issue_license(playable, max_height, body["offline"], playable_until, now):
        response["drm"] = drm
    return response


def _get_device_id(viewer: Viewer, device_id: str | None) -> str:
    """Return the id of the playing device: the session's, or another of the account's. Raises NotFound."""
    if device_id in (None, viewer.row.device_id):
        return viewer.row.device_id
    if not fetch_one(Device.select_owned(viewer.account_id).where(Device.id == device_id)):
        raise NotFound(detail="There is no such device on your account.")
    return device_id


def _require_playable(playable: Playable | None, facts: ViewerFacts, now: datetime) -> Playable:
    """Return the item. Raises NotFound, or the access refusal if it may not be played."""
    if playable is None:
        raise NotFound
    if reason := decide_access(playable.facts, facts, now).reason:
        raise stream_rules.access_refusal(reason)
    return playable


def _playback_view(
    stream_id: str,
    current: int,
    request: streams.StreamRequest,
    limits: streams.StreamLimits,
    playable: Playable,
    address: str | None,
    now: datetime,
) -> dict:
    row = playable.row
    grant, manifests = issue_grant(stream_id, request, media.manifest_views(playable), address, now)
    return {
        "stream_id": stream_id,
        "manifests": manifests,
        "grant": grant,
        "resume_s": progress.resume_position_s(row.position_s, row.duration_s, row.watched_at, row.restarted_at),
        "heartbeat": {
            "interval_s": int(stream_rules.HEARTBEAT_INTERVAL.total_seconds()),
            "ttl_s": int(stream_rules.STREAM_TTL.total_seconds()),
        },
        "limits": {"max": limits.streams, "current": current, "max_height": request.max_height},
        "markers": playable.markers,
        "cmcd": {"sid": stream_id, "cid": request.item_id},
    }


def record_heartbeat(
    viewer: Viewer,
    reported_country: str | None,
    address: str | None,
    stream_id: str,
    report: HeartbeatInput,
    now: datetime,
) -> dict:
    """Extend a stream and save its position from a loaded HeartbeatIn, after deciding access again.

    Raises NotFound, or StreamEnded with the reason.
    """
    stream = streams.find_stream(viewer.account_id, stream_id, now)
    if stream is None:
        raise NotFound
    playable = items.find_playable(stream.item_id)
    if playable and _find_stream_profile(viewer, stream):
        progress_report = progress.normalize_report(
            playable.item, report["position_s"], None, report["at"], now, restarted_at=stream.started_at
        )
        save_progress(stream.profile_id, playable.item, progress_report)
    if reason := streams.stream_end_reason(stream, now):
        raise StreamEnded(reason=reason)
    if reason := _denial_reason(viewer, reported_country, stream, playable, now):
        streams.end_streams(viewer.account_id, now, reason, Stream.id == stream_id)
        raise StreamEnded(reason=reason)
    _extend_stream(stream, report, now)
    response = {
        "interval_s": int(stream_rules.HEARTBEAT_INTERVAL.total_seconds()),
        "max": viewer.entitlements["max_streams"],
    }
    if report["state"] in stream_rules.FINAL_STATES:
        return response | {"current": stream.current - 1}
    assert playable is not None, "a stream of a removed title was ended above"
    unsigned = media.manifest_views(playable)
    grant, manifests = issue_grant(stream_id, stream, unsigned, address, now)
    signed = {"manifests": manifests} if manifests != unsigned else {}
    return response | {"grant": grant, "current": stream.current} | signed


def _denial_reason(
    viewer: Viewer, reported_country: str | None, stream: sa.Row, playable: Playable | None, now: datetime
) -> str | None:
    """Return why a stream must end, by the facts of the profile that started it; None if it may continue."""
    if playable is None:
        return stream_rules.TITLE_REMOVED
    profile = _find_stream_profile(viewer, stream)
    facts = replace(
        viewer_facts(viewer, reported_country),
        has_profile=profile is not None,
        max_age=profile.max_age if profile else None,
    )
    return decide_access(playable.facts, facts, now).reason


def _find_stream_profile(viewer: Viewer, stream: sa.Row) -> Any | None:
    """Return the profile that started a stream; None if it no longer exists."""
    return next((profile for profile in viewer.profiles if profile.profile_id == stream.profile_id), None)


def _extend_stream(stream: sa.Row, report: HeartbeatInput, now: datetime) -> None:
    """Save the heartbeat on the stream. Raises StreamEnded if the stream ended in the meantime."""
    is_final = report["state"] in stream_rules.FINAL_STATES
    extended = (FINAL_HEARTBEAT if is_final else HEARTBEAT).execute_write(
        stream_id=stream.id,
        now=now,
        new_expires_at=now if is_final else now + stream_rules.STREAM_TTL,
        new_position_s=report["position_s"],
        new_state=report["state"],
        added_s=stream_rules.watched_seconds(stream.state, stream.seen_at, now),
    )
    if not extended:
        ended = streams.find_stream(stream.account_id, stream.id, now)
        raise StreamEnded(reason=streams.stream_end_reason(ended or stream, now))


def _heartbeat_statement(**final_values: Any) -> CompiledStatement:
    """Build the guarded update of a heartbeat, which leaves an ended or expired stream unchanged."""
    is_live = Stream.ended_at.is_(None), Stream.expires_at > streams.NOW
    statement = sa.update(Stream).where(Stream.id == sa.bindparam("stream_id"), *is_live)
    return CompiledStatement(
        statement.values(
            position_s=sa.bindparam("new_position_s", type_=sa.Integer),
            state=sa.bindparam("new_state", type_=sa.String),
            seen_at=streams.NOW,
            expires_at=sa.bindparam("new_expires_at", type_=UtcTime),
            watched_s=Stream.watched_s + sa.bindparam("added_s", type_=sa.Integer),
            **final_values,
        )
    )


HEARTBEAT = _heartbeat_statement()
FINAL_HEARTBEAT = _heartbeat_statement(ended_at=streams.NOW, end_reason=stream_rules.STOPPED)


def stop_stream(viewer: Viewer, stream_id: str, now: datetime) -> None:
    """End a stream of the viewer's account, unless it has ended already. Raises NotFound."""
    stream = streams.find_stream(viewer.account_id, stream_id, now)
    if stream is None:
        raise NotFound
    reason = stream_rules.STOPPED if stream.session_id == viewer.row.session_id else stream_rules.STOPPED_BY_VIEWER
    streams.end_streams(viewer.account_id, now, reason, Stream.id == stream_id)


def stop_other_streams(viewer: Viewer, except_id: str | None, now: datetime) -> None:
    """End all streams of the viewer's account except `except_id`. Raises NotFound if that one is not live."""
    excepted = streams.find_stream(viewer.account_id, except_id, now) if except_id else None
    if except_id and (excepted is None or streams.stream_end_reason(excepted, now)):
        raise NotFound
    streams.end_streams(
        viewer.account_id, now, stream_rules.STOPPED_BY_VIEWER, *([Stream.id != except_id] if except_id else [])
    )
