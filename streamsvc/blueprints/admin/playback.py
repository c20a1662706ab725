"""POST /v1/admin/explain; GET /v1/admin/streams, DELETE /v1/admin/streams/{id}; GET /v1/admin/reports/usage."""

from collections.abc import Iterator
from datetime import timedelta

import msgspec
import sqlalchemy as sa
from flask import Response

from streamsvc import clock
from streamsvc.blueprints.admin.audited_resources import STREAM
from streamsvc.blueprints.admin.reports import csv_response, describe_csv
from streamsvc.http import pagination
from streamsvc.http.edge import Blueprint
from streamsvc.http.trusted_proxies import is_refused_network
from streamsvc.models import Stream
from streamsvc.operations.outbox import audit
from streamsvc.operations.outbox.audited_changes import audited
from streamsvc.operations.playback import explain as explaining
from streamsvc.operations.playback import streams, usage
from streamsvc.rules.playback import stream_rules
from streamsvc.rules.playback.inputs import ExplainInput
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.schemas.admin.playback import (
    AdminStreamPage,
    ExplainIn,
    ExplainOut,
    StreamsQuery,
    UsageOut,
    UsageQuery,
)
from streamsvc.security.access import operator_only
from streamsvc.security.principals import current_operator
from streamsvc.storage.database import db, fetch_all, fetch_existing, fetch_one

bp = Blueprint(
    "admin playback", __name__, url_prefix="/v1/admin", description="Streams, usage, and why a title does not play."
)


@bp.route("/explain", methods=["POST"])
@operator_only("support")
@bp.arguments(ExplainIn)
@bp.errors(NotFound)
@bp.response(200, ExplainOut)
def explain_playback(body: ExplainInput) -> dict:
    """Explain why an account can or cannot play a title.

    Runs every check of a playback, in order, and starts nothing.
    """
    network_refused = body["address"] is not None and is_refused_network(body["address"])
    explanation = explaining.explain_playback(body, network_refused, clock.now())
    explanation["facts"]["device_kind"] = body["device_kind"]
    return explanation


@bp.route("/streams")
@operator_only("playback")
@bp.arguments(StreamsQuery, location="query")
@bp.response(200, AdminStreamPage)
def list_all_streams(query: dict) -> dict:
    """List all live streams, newest first."""
    conditions = [Stream.account_id == query["account_id"]] if query["account_id"] else []
    live, now = streams.ALL_LIVE_STREAMS.where(*conditions), clock.now()
    after = pagination.decode_cursor("admin-streams", query["cursor"])
    remaining = live.where(Stream.id < after[0]) if after else live
    rows = fetch_all(remaining.limit(query["limit"] + 1), {"now": now})
    page = pagination.build_page(rows, query["limit"], "admin-streams", lambda stream: [stream.id])
    if query["include_total"]:
        page |= pagination.total_members(fetch_existing(pagination.bounded_count(live), {"now": now})[0])
    admin_fields = ("account_id", "country")
    page["items"] = [
        streams.stream_view(row) | {name: getattr(row, name) for name in admin_fields} for row in page["items"]
    ]
    return page


@bp.route("/streams/<stream_id>", methods=["DELETE"])
@operator_only("playback")
@bp.response(204)
@audited(STREAM, "stream_id", "stream_stopped")
def stop_any_stream(stream_id: str) -> None:
    """Stop a stream.

    Its next heartbeat gets 410 `stream_ended`, and its playback token is not renewed.
    """
    stream = fetch_one(sa.select(Stream.account_id).where(Stream.id == stream_id))
    if stream is None:
        raise NotFound
    now = clock.now()
    is_stoppable = Stream.id == stream_id, Stream.expires_at > now
    streams.end_streams_uncommitted(stream.account_id, now, stream_rules.STOPPED_BY_OPERATOR, *is_stoppable)
    audit.record_event("stream_stopped", stream.account_id, actor=current_operator().id, stream=stream_id)
    db.session.commit()


@bp.route("/reports/usage")
@operator_only("playback")
@bp.arguments(UsageQuery, location="query")
@bp.response(200, UsageOut)
@bp.alt_response(200, schema={"type": "string"}, content_type="text/csv", description=describe_csv(UsageOut()))
@bp.alt_response(
    200,
    schema={"type": "string"},
    content_type="application/x-ndjson",
    description="With `format=ndjson`: the rows of the same tables as JSON objects, one per line.",
)
def get_usage_report(query: dict) -> Response | dict:
    """Retrieve the usage report.

    Returns starts, minutes, completions and viewers by day, by title (the hundred most watched) and in total. With
    `group_by` also by each combination of the named dimensions; with `format`, as a file.
    """
    until = query["until"] or clock.now().date() + timedelta(days=1)
    since = query["since"] or until - timedelta(days=30)
    report = usage.usage_report(since, until, query["group_by"], is_export=query["format"] != "json")
    if query["format"] == "json":
        return report
    exported = UsageOut().dump(report)
    return csv_response(exported) if query["format"] == "csv" else ndjson_response(exported)


def ndjson_response(report: dict) -> Response:
    """Return all tables of the report as JSON objects, one per line; each names its table."""

    def list_lines() -> Iterator[bytes]:
        for name, rows in report.items():
            for row in rows if isinstance(rows, list) else ():
                yield msgspec.json.encode({"table": name} | row) + b"\n"

    return Response(list_lines(), content_type="application/x-ndjson")
