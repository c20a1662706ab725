"""POST /v1/admin/explain; GET /v1/admin/streams, DELETE one; GET /v1/admin/reports/usage."""

from datetime import timedelta

import sqlalchemy as sa

from streamsvc import clock
from streamsvc.http import pagination
from streamsvc.http.edge import Blueprint
from streamsvc.models import Stream
from streamsvc.operations.outbox import audit
from streamsvc.operations.playback import explain as explaining
from streamsvc.operations.playback import streams, usage
from streamsvc.rules.playback import streaming
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.schemas.admin.playback import (
    AdminStreamPage,
    ExplainIn,
    ExplainOut,
    StreamsQuery,
    UsageOut,
    UsageQuery,
)
from streamsvc.security.authentication import current_operator, operator_only
from streamsvc.storage.database import db, fetch_all, fetch_one

bp = Blueprint("admin playback", __name__, url_prefix="/v1/admin", description="Who plays what, and why not.")


@bp.route("/explain", methods=["POST"])
@operator_only("support")
@bp.arguments(ExplainIn)
@bp.response(200, ExplainOut)
def explain_playback(body):
    """Why can this account not play this title? Every check in order, passed or failed; nothing is started."""
    explained = explaining.explain_playback(body, clock.now())
    explained["facts"]["device_kind"] = body["device_kind"]
    return explained


@bp.route("/streams")
@operator_only("playback")
@bp.arguments(StreamsQuery, location="query")
@bp.response(200, AdminStreamPage)
def list_streams(query):
    """Everything that plays just now, the newest first."""
    theirs = [Stream.account_id == query["account_id"]] if query["account_id"] else []
    live, now = streams.ALL_LIVE_STREAMS.where(*theirs), clock.now()
    after = pagination.decode_cursor("admin-streams", query["cursor"])
    page_of_live = live.where(Stream.id < after[0]) if after else live
    rows = fetch_all(page_of_live.limit(query["limit"] + 1), {"now": now})
    page = pagination.build_page(rows, query["limit"], "admin-streams", lambda stream: [stream.id])
    if query["include_total"]:
        counted = sa.select(sa.func.count()).select_from(live.order_by(None).subquery())
        page["total"] = fetch_one(counted, {"now": now})[0]
    also = ("account_id", "country")
    page["items"] = [streams.stream_view(s) | {name: getattr(s, name) for name in also} for s in page["items"]]
    return page


@bp.route("/streams/<stream_id>", methods=["DELETE"])
@operator_only("playback")
@bp.response(204)
def stop_stream(stream_id):
    """Stop a stream; its next heartbeat says so, and its grant is not renewed."""
    found = fetch_one(sa.select(Stream.account_id).where(Stream.id == stream_id))
    if found is None:
        raise NotFound
    streams.end_streams(found.account_id, clock.now(), streaming.STOPPED_BY_OPERATOR, Stream.id == stream_id)
    audit.record_event("stream_stopped", found.account_id, actor=current_operator().id, stream=stream_id)
    db.session.commit()


@bp.route("/reports/usage")
@operator_only("playback")
@bp.arguments(UsageQuery, location="query")
@bp.response(200, UsageOut)
def get_usage_report(query):
    """Starts, minutes and viewers: by day, by title (the hundred most watched), in all."""
    until = query["until"] or clock.now().date() + timedelta(days=1)
    return usage.usage_report(query["since"] or until - timedelta(days=30), until)
