"""/v1/playback: start, extend, list and stop streams."""

import logging

import msgspec
from flask import Response, request
from sqlalchemy.exc import SQLAlchemyError

from streamsvc import clock
from streamsvc.blueprints.playback.grant_cookies import sets_grant_cookies
from streamsvc.http import pagination
from streamsvc.http.edge import Blueprint, json_response, refusal_response
from streamsvc.http.idempotency import idempotent
from streamsvc.http.trusted_proxies import client_origin
from streamsvc.operations.catalog.reading.audience import viewer_facts
from streamsvc.operations.playback import heartbeats, playing, streams
from streamsvc.rules.inputs import PageInput
from streamsvc.rules.playback.inputs import BeaconInput, HeartbeatInput, PlaybackInput
from streamsvc.rules.refusals.accounts import PinRequired
from streamsvc.rules.refusals.playback import (
    CountryUnknown,
    DeviceLimit,
    DeviceMismatch,
    DownloadsNotInPlan,
    EntitlementUnavailable,
    ExtraMediaShared,
    GrantInvalid,
    NoLongerAvailable,
    NotAvailableInCountry,
    NotInPlan,
    NotYetAvailable,
    OutsideViewingHours,
    ProfileRequired,
    ProgrammeRestricted,
    StreamEnded,
    StreamLimit,
    SubscriptionRequired,
    VpnNotAllowed,
)
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.schemas.base import PageQuery
from streamsvc.schemas.playback.playback import (
    BeaconIn,
    HeartbeatIn,
    HeartbeatOut,
    PlaybackIn,
    PlaybackOut,
    StopStreamsQuery,
    StreamPage,
)
from streamsvc.security.access import allow_guests, allow_kids, public
from streamsvc.security.joined_reads import reads_with_viewer
from streamsvc.security.principals import current_viewer

bp = Blueprint("playback", __name__, url_prefix="/v1/playback", description="Start, list and stop streams.")
log = logging.getLogger("streamsvc.playback")


@bp.errorhandler(SQLAlchemyError)
def handle_database_error(error: Exception) -> Response:
    """Refuse playback when the database cannot answer who the viewer is, what they may play or how much is playing."""
    log.exception("playback request failed: database error")
    return refusal_response(EntitlementUnavailable())


@bp.route("", methods=["POST"])
@allow_guests
@allow_kids
@bp.arguments(PlaybackIn)
@sets_grant_cookies
@idempotent(per_profile=True)
@bp.errors(
    CountryUnknown,
    DeviceLimit,
    DeviceMismatch,
    DownloadsNotInPlan,
    EntitlementUnavailable,
    ExtraMediaShared,
    NoLongerAvailable,
    NotAvailableInCountry,
    NotFound,
    NotInPlan,
    NotYetAvailable,
    OutsideViewingHours,
    PinRequired,
    ProfileRequired,
    ProgrammeRestricted,
    StreamLimit,
    SubscriptionRequired,
    VpnNotAllowed,
)
@bp.response(201, PlaybackOut)
def start_playback(body: PlaybackInput) -> Response:
    """Start the playback of a film, an episode, an extra, a live channel, or a programme on catch-up.

    A refused playback gets the first error that applies, in this order: 401 · 403 `device_mismatch` · 404 · 403
    `extra_media_shared`, `programme_restricted`, `profile_required`, `subscription_required`, `not_in_plan`,
    `country_unknown`, `not_available_in_country`, `not_yet_available`, `no_longer_available`, `downloads_not_in_plan` ·
    409 `device_limit` {limit, devices}, `stream_limit` {limit, streams} · 503 `entitlement_unavailable`. A trailer
    needs no subscription and counts towards no limit, unless the operator decides otherwise. The session's device
    plays, whatever the player sends. If it starts the same item again, or plays in another session now, the new stream
    replaces the old one.
    """
    started = playing.start_playback(current_viewer(), client_origin(), request.remote_addr, body, clock.now())
    return json_response(msgspec.json.encode(started), 201)


@bp.route("/<stream_id>/heartbeat", methods=["POST"])
@reads_with_viewer(heartbeats.choose_stream_read)
@allow_guests
@allow_kids
@bp.text_body
@bp.arguments(HeartbeatIn)
@sets_grant_cookies
@bp.errors(DeviceMismatch, StreamEnded)
@bp.response(200, HeartbeatOut)
def send_heartbeat(body: HeartbeatInput, stream_id: str) -> Response:
    """Send a heartbeat with the player's position and state.

    Players send one when playing begins and every `interval_s` seconds, and use the new `grant` from then on. 410
    `stream_ended` {reason} when the player must stop, 403 `device_mismatch` for a stream of another device. No position
    is saved before the first `playing`, so that a failed start does not lose the resume point. The body may be sent as
    text/plain, too.
    """
    extended = heartbeats.record_heartbeat(current_viewer(), client_origin(), request.remote_addr, body, clock.now())
    return json_response(msgspec.json.encode(extended))


@bp.route("/<stream_id>/beacon", methods=["POST"])
@public
@bp.text_body
@bp.arguments(BeaconIn)
@bp.errors(GrantInvalid)
@bp.response(204)
def send_beacon(body: BeaconInput, stream_id: str) -> None:
    """Send the last heartbeat of a page that is being closed.

    For `navigator.sendBeacon`, which can set no header: the body may also be sent as text/plain, so that browsers ask
    for no preflight, and has the stream's playback token as `grant` instead of a session. Cookies are ignored. It saves
    the position and ends the stream, no more; 401 `grant_invalid` without a valid token of this stream.
    """
    heartbeats.record_beacon(stream_id, body, clock.now())


@bp.route("")
@bp.arguments(PageQuery, location="query")
@bp.response(200, StreamPage)
def list_streams(query: PageInput) -> dict:
    """List the account's live streams, oldest first.

    `item_id` and `title_id` are null for a title that does not exist for the selected profile.
    """
    viewer = current_viewer()
    live = streams.list_live_streams(viewer.account_id, clock.now())
    after = pagination.decode_cursor("streams", query["cursor"])
    rows = [stream for stream in live if after is None or stream.id > after[0]]
    page = pagination.build_page(rows, query["limit"], "streams", lambda stream: [stream.id])
    total = pagination.total_members(len(live)) if query["include_total"] else {}
    views = [streams.stream_view(stream) for stream in page["items"]]
    return page | total | {"items": playing.hide_titles(views, viewer_facts(viewer, client_origin()))}


@bp.route("/<stream_id>", methods=["DELETE"])
@allow_guests
@allow_kids
@sets_grant_cookies
@bp.response(204)
def stop_stream(stream_id: str) -> None:
    """Stop a stream.

    Its slot is free at once.
    """
    playing.stop_stream(current_viewer(), stream_id, clock.now())


@bp.route("", methods=["DELETE"])
@bp.arguments(StopStreamsQuery, location="query")
@bp.errors(NotFound)
@bp.response(204)
def stop_other_streams(query: dict) -> None:
    """Stop all other streams.

    Stops all streams of the account except the one in `except`; 404 if that stream is not live.
    """
    playing.stop_other_streams(current_viewer(), query["except_id"], clock.now())
