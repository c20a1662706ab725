"""A playback from its start to its end: decided by rules/playback/access.py, held in a place, kept up by heartbeats."""

from dataclasses import replace
from datetime import datetime

import sqlalchemy as sa
from flask import current_app

from streamsvc.models import Device, Stream
from streamsvc.models.progress import save
from streamsvc.operations.catalog.reading.audience import viewer_facts
from streamsvc.operations.playback import items, streams
from streamsvc.operations.playback.items import Playable
from streamsvc.rules.playback import progress, streaming
from streamsvc.rules.playback.access import ViewerFacts, verdict
from streamsvc.rules.playback.tokens import Grant, path_opened_by
from streamsvc.rules.refusals.playback import StreamEnded
from streamsvc.rules.refusals.requests import Invalid, NotFound
from streamsvc.security import playback_tokens
from streamsvc.security.authentication import Viewer
from streamsvc.storage.compiled_statements import Prepared
from streamsvc.storage.database import UtcTime, one_row


def start(who: Viewer, asked: dict, now: datetime) -> dict:
    """Start to play what was `asked` (a loaded PlaybackIn). Raises why not, in the order of the contract."""
    facts, device_id = viewer_facts(), _device(who, asked["device_id"])
    playable = items.find(asked["item_id"], who.profile.profile_id if who.profile else None)
    _check(playable, facts, now)
    if playable.is_series:
        raise Invalid(errors={"item_id": ["A series is played episode by episode; give the id of one."]})
    granted = who.entitlements
    wish = streams.Wish(
        account_id=who.account_id,
        profile_id=who.profile.profile_id,
        session_id=who.row.session_id,
        device_id=device_id,
        title_id=playable.row.title_id,
        item_id=playable.row.item_id,
        country=facts.country,
        max_height=streaming.height_allowed(granted["max_height"], asked["max_height"]),
    )
    limits = streams.Limits(granted["max_streams"], granted["max_devices"], streams.evicts())
    stream_id, current = streams.claim(wish, limits, asked["replace"], now)
    return _started(stream_id, current, wish, limits, playable, now)


def _device(who: Viewer, asked_id: str | None) -> str:
    """The id of the device that plays: the session's, or another of the account's. Raises NotFound."""
    if asked_id in (None, who.row.device_id):
        return who.row.device_id
    if not one_row(Device.kept(who.account_id).where(Device.id == asked_id)):
        raise NotFound(detail="There is no such device on your account.")
    return asked_id


def _check(playable: Playable | None, facts: ViewerFacts, now: datetime) -> None:
    """Raises the refusal, if the item may not be played."""
    if playable is None:
        raise NotFound
    if reason := verdict(playable.facts, facts, now).reason:
        raise streaming.refusal(reason)


def _started(stream_id, current, wish, limits, playable, now) -> dict:
    manifests = manifests_of(playable)
    row = playable.row
    return {
        "stream_id": stream_id,
        "manifests": manifests,
        "grant": grant_for(stream_id, wish, manifests, now),
        "resume_s": progress.resume_s(row.position_s, row.duration_s, row.watched_at, row.restarted_at),
        "heartbeat": {
            "interval_s": int(streaming.HEARTBEAT.total_seconds()),
            "ttl_s": int(streaming.TTL.total_seconds()),
        },
        "limits": {"max": limits.streams, "current": current, "max_height": wish.max_height},
        "markers": playable.markers,
        "cmcd": {"sid": stream_id, "cid": wish.item_id},
    }


def manifests_of(playable: Playable) -> list[dict]:
    """Where the media are: as the catalogue says, else where STREAMSVC_MEDIA_URL says that they lie."""
    settings = current_app.extensions["settings"]
    media = playable.media or {"hls": settings.media_url.replace("{item_id}", playable.row.item_id)}
    return [
        {"type": kind, "url": settings.public_url + url if url.startswith("/") else url} for kind, url in media.items()
    ]


def grant_for(stream_id: str, stream, manifests: list[dict], now: datetime) -> dict:
    """A fresh grant for a stream (a Wish or a row of one): {token, expires_at}."""
    expires_at = now + streaming.TTL
    paths = tuple(dict.fromkeys(path_opened_by(manifest["url"]) for manifest in manifests))
    grant = Grant(
        stream_id,
        stream.account_id,
        stream.profile_id,
        stream.item_id,
        stream.country,
        paths,
        stream.max_height,
        expires_at,
    )
    keys = playback_tokens.media_keys(current_app.extensions["settings"].secret_key)
    return {"token": playback_tokens.signed(grant, keys), "expires_at": expires_at}


def beat(who: Viewer, stream_id: str, told: dict, now: datetime) -> dict:
    """Keep a stream alive and note how far it is (`told` is a loaded HeartbeatIn); decides afresh whether it may go on.

    Raises NotFound, or StreamEnded with the reason.
    """
    stream = streams.find(who.account_id, stream_id, now)
    if stream is None:
        raise NotFound
    playable = items.find(stream.item_id)
    if playable and _profile_of(who, stream):
        said = progress.report(playable.item, told["position_s"], None, told["at"], now, restarted_at=stream.started_at)
        save(stream.profile_id, playable.item, said)
    if reason := streams.end_reason(stream, now):
        raise StreamEnded(reason=reason)
    if reason := _why_not(who, stream, playable, now):
        streams.end(who.account_id, now, reason, Stream.id == stream_id)
        raise StreamEnded(reason=reason)
    _keep(stream, told, now)
    answer = {"interval_s": int(streaming.HEARTBEAT.total_seconds()), "max": who.entitlements["max_streams"]}
    if told["state"] in streaming.FINAL_STATES:
        return answer | {"current": stream.current - 1}
    return answer | {"grant": grant_for(stream_id, stream, manifests_of(playable), now), "current": stream.current}


def _why_not(who: Viewer, stream: sa.Row, playable: Playable | None, now: datetime) -> str | None:
    """Why a stream may not go on, by the facts of the profile that it was started for; None: it may."""
    if playable is None:
        return streaming.GONE
    profile = _profile_of(who, stream)
    facts = replace(viewer_facts(), has_profile=profile is not None, max_age=profile.max_age if profile else None)
    return verdict(playable.facts, facts, now).reason


def _profile_of(who: Viewer, stream: sa.Row):
    """The profile that a stream was started for; None where it is gone."""
    return next((p for p in who.profiles if p.profile_id == stream.profile_id), None)


def _keep(stream: sa.Row, told: dict, now: datetime) -> None:
    """Raises StreamEnded where the stream ended just now."""
    final = told["state"] in streaming.FINAL_STATES
    kept = (LAST_BEAT if final else BEAT).affected(
        stream_id=stream.id,
        now=now,
        until=now if final else now + streaming.TTL,
        told_position_s=told["position_s"],
        told_state=told["state"],
        more_s=streaming.watched_since(stream.state, stream.seen_at, now),
    )
    if not kept:
        stream = streams.find(stream.account_id, stream.id, now)
        raise StreamEnded(reason=streams.end_reason(stream, now))


def _beat(**more) -> Prepared:
    """Guarded: what ended or expired meanwhile stays so."""
    live = Stream.ended_at.is_(None), Stream.expires_at > streams.NOW
    statement = sa.update(Stream).where(Stream.id == sa.bindparam("stream_id"), *live)
    return Prepared(
        statement.values(
            position_s=sa.bindparam("told_position_s", type_=sa.Integer),
            state=sa.bindparam("told_state", type_=sa.String),
            seen_at=streams.NOW,
            expires_at=sa.bindparam("until", type_=UtcTime),
            watched_s=Stream.watched_s + sa.bindparam("more_s", type_=sa.Integer),
            **more,
        )
    )


BEAT = _beat()
LAST_BEAT = _beat(ended_at=streams.NOW, end_reason=streaming.STOPPED)


def stop(who: Viewer, stream_id: str, now: datetime) -> None:
    """End one stream of the viewer's account; one that is over stays so. Raises NotFound."""
    stream = streams.find(who.account_id, stream_id, now)
    if stream is None:
        raise NotFound
    reason = streaming.STOPPED if stream.session_id == who.row.session_id else streaming.STOPPED_BY_VIEWER
    streams.end(who.account_id, now, reason, Stream.id == stream_id)


def stop_others(who: Viewer, kept_id: str | None, now: datetime) -> None:
    """End all streams of the viewer's account but one. Raises NotFound where that one is not live."""
    kept = kept_id and streams.find(who.account_id, kept_id, now)
    if kept_id and (kept is None or streams.end_reason(kept, now)):
        raise NotFound
    streams.end(who.account_id, now, streaming.STOPPED_BY_VIEWER, *([Stream.id != kept_id] if kept_id else []))
