"""Playback: started after rules/playback/access.py decided on access and a stream slot was claimed; and stopped."""

from datetime import datetime

from streamsvc.models import Device, Stream
from streamsvc.operations.catalog.reading.audience import viewer_facts
from streamsvc.operations.playback import items, licenses, media, streams
from streamsvc.operations.playback.grants import issue_grant
from streamsvc.operations.playback.playables import Playable
from streamsvc.operations.playback.policy import progress_policy
from streamsvc.rules.geography import Origin
from streamsvc.rules.playback import progress, stream_rules
from streamsvc.rules.playback.access import AccessDecision, ViewerFacts, decide_access
from streamsvc.rules.playback.inputs import PlaybackInput
from streamsvc.rules.refusals.playback import DeviceMismatch, StreamLimit
from streamsvc.rules.refusals.requests import Invalid, NotFound
from streamsvc.security.viewers import Viewer
from streamsvc.storage.database import fetch_one


def start_playback(viewer: Viewer, origin: Origin, address: str | None, body: PlaybackInput, now: datetime) -> dict:
    """Start a playback from a loaded PlaybackIn; return it as in PlaybackOut. `address`: the client's.

    Raises the first refusal, in the order that the API documents.
    """
    _require_session_device(viewer, body["device_id"])
    facts = viewer_facts(viewer, origin)
    found = items.find_playable(body["item_id"], viewer.profile.profile_id if viewer.profile else None, now)
    playable, access = _require_playable(found, facts, now)
    if playable.is_series:
        raise Invalid(
            errors={"item_id": ["Must be the id of a film, an episode, an extra or a channel, not of a series."]}
        )
    entitlements, is_open_extra = viewer.entitlements, playable.is_open_extra
    plan_height = None if is_open_extra and not entitlements["active"] else entitlements["max_height"]
    max_height = stream_rules.allowed_height(plan_height, body["max_height"])
    if body["offline"]:
        licenses.require_downloadable(playable, max_height, entitlements)
    request = streams.StreamRequest(
        account_id=viewer.account_id,
        profile_id=viewer.row.selected_profile_id,
        session_id=viewer.row.session_id,
        device_id=viewer.row.device_id,
        title_id=playable.row.title_id,
        item_id=playable.row.item_id,
        country=facts.country,
        max_height=max_height,
        media_scope=media.encode_scope(media.load_media_scope(playable, max_height)),
        plan=entitlements["plan"],
        takes_slot=not is_open_extra,
    )
    limits = streams.stream_limits(entitlements)
    stream_id, current = _claim_stream(request, limits, body["replace"], facts, now)
    response = _playback_view(stream_id, current, request, limits, playable, address, now)
    if drm := licenses.issue_license(stream_id, playable, max_height, body["offline"], access.ends_at, now):
        response["drm"] = drm
    return response


def _claim_stream(
    request: streams.StreamRequest, limits: streams.StreamLimits, replace: str | None, facts: ViewerFacts, now: datetime
) -> tuple[str, int]:
    """Start the stream. Raises DeviceLimit, or StreamLimit without the titles that the viewer may not see."""
    try:
        return streams.claim_stream(request, limits, replace, now)
    except StreamLimit as refusal:
        refusal.members["streams"] = hide_titles(refusal.members["streams"], facts)
        raise


def hide_titles(stream_views: list[dict], facts: ViewerFacts) -> list[dict]:
    """Return live streams of the account, without the titles that a viewer may not see or the catalogue has no more.

    The streams themselves stay, since they take a slot and can be stopped.
    """
    item_ids = {view["item_id"] for view in stream_views}
    visible = items.list_visible_ids(item_ids, facts.country, facts.max_age, facts.title_rules)
    hidden = {"item_id": None, "title_id": None}
    return [view if view["item_id"] in visible else view | hidden for view in stream_views]


def _require_session_device(viewer: Viewer, device_id: str | None) -> None:
    """Check that a player names the device of its session, if it names one: limits count the devices that signed in.

    Raises DeviceMismatch, or NotFound for a device that is not the account's.
    """
    if device_id in (None, viewer.row.device_id):
        return
    if not fetch_one(Device.select_owned(viewer.account_id).where(Device.id == device_id)):
        raise NotFound(detail="There is no such device on your account.")
    raise DeviceMismatch


def _require_playable(playable: Playable | None, facts: ViewerFacts, now: datetime) -> tuple[Playable, AccessDecision]:
    """Return the item and the decision. Raises NotFound, or the access refusal if it may not be played."""
    if playable is None:
        raise NotFound
    access = decide_access(playable.facts_for(facts), facts, now)
    if access.reason:
        raise stream_rules.access_refusal(access.reason, facts)
    return playable, access


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
    grant, manifests = issue_grant(stream_id, request, playable, address, now)
    return {
        "stream_id": stream_id,
        "manifests": manifests,
        "grant": grant,
        "resume_s": progress.resume_position_s(
            row.position_s, row.duration_s, row.watched_at, row.restarted_at, progress_policy()
        ),
        "heartbeat": {
            "interval_s": int(stream_rules.HEARTBEAT_INTERVAL.total_seconds()),
            "ttl_s": int(stream_rules.STREAM_TTL.total_seconds()),
        },
        "limits": {"max": limits.streams, "current": current, "max_height": request.max_height},
        "markers": playable.markers,
        "cmcd": {"sid": stream_id, "cid": request.item_id},
    }


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
