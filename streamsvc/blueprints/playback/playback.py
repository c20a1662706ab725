"""/v1/playback: start, keep up, list, stop."""

import logging

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from streamsvc import clock
from streamsvc.http import pagination
from streamsvc.http.edge import Blueprint, json_response, refusal_response
from streamsvc.http.idempotency import idempotent
from streamsvc.operations.playback import playing, streams
from streamsvc.rules.refusals.playback import EntitlementUnavailable
from streamsvc.schemas.base import PageQuery
from streamsvc.schemas.playback.playback import (
    HeartbeatIn,
    HeartbeatOut,
    PlaybackIn,
    PlaybackOut,
    StopStreamsQuery,
    StreamPage,
)
from streamsvc.security.authentication import allow_kids, current_viewer

bp = Blueprint("playback", __name__, url_prefix="/v1/playback", description="May this be played, here and now?")
log = logging.getLogger("streamsvc.playback")


@bp.errorhandler(SQLAlchemyError)
def handle_database_error(error):
    """What cannot be found out does not play: not who asks, not whether they may, not how many do already."""
    log.exception("a playback was not decided")
    return refusal_response(EntitlementUnavailable())


@bp.route("", methods=["POST"])
@allow_kids
@bp.arguments(PlaybackIn)
@idempotent()
@bp.response(201, PlaybackOut)
def start_playback(body):
    """Start to play a film or an episode, or hear why not: the first reason, in a fixed order.

    401 · 404 · 403 `profile_required`, `subscription_required`, `not_in_plan`, `country_unknown`,
    `not_available_in_country`, `not_yet_available`, `no_longer_available` · 409 `device_limit` {limit, devices},
    `stream_limit` {limit, streams} · 503 `entitlement_unavailable`. The same device starting the same item again takes
    over its own place.
    """
    return json_response(msgspec.json.encode(playing.start_playback(current_viewer(), body, clock.now())), 201)


@bp.route("/<stream_id>/heartbeat", methods=["POST"])
@allow_kids
@bp.arguments(HeartbeatIn)
@bp.response(200, HeartbeatOut)
def send_heartbeat(body, stream_id):
    """Tell how far the player is, every `interval_s`; 410 `stream_ended` {reason} when it must stop."""
    return json_response(msgspec.json.encode(playing.record_heartbeat(current_viewer(), stream_id, body, clock.now())))


@bp.route("")
@bp.arguments(PageQuery, location="query")
@bp.response(200, StreamPage)
def list_streams(query):
    """What plays on the account just now, the oldest first."""
    live = streams.list_live_streams(current_viewer().account_id, clock.now())
    after = pagination.decode_cursor("streams", query["cursor"])
    rows = [stream for stream in live if after is None or stream.id > after[0]]
    page = pagination.build_page(rows, query["limit"], "streams", lambda stream: [stream.id])
    total = {"total": len(live)} if query["include_total"] else {}
    return page | total | {"items": [streams.stream_view(stream) for stream in page["items"]]}


@bp.route("/<stream_id>", methods=["DELETE"])
@allow_kids
@bp.response(204)
def stop_stream(stream_id):
    """Stop one stream; its place is free at once."""
    playing.stop_stream(current_viewer(), stream_id, clock.now())


@bp.route("", methods=["DELETE"])
@bp.arguments(StopStreamsQuery, location="query")
@bp.response(204)
def stop_other_streams(query):
    """Stop every stream of the account but `except`."""
    playing.stop_other_streams(current_viewer(), query["kept_id"], clock.now())
