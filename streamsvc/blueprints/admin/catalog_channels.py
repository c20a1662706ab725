"""GET·PUT·DELETE /v1/admin/channels/{external_id}."""

from flask import Response
from marshmallow import INCLUDE, Schema

from streamsvc import clock
from streamsvc.blueprints.admin.audited_resources import CHANNEL
from streamsvc.blueprints.admin.preconditions import check_preconditions
from streamsvc.blueprints.admin.stored_records import record_etag, record_response, requested_record_response
from streamsvc.http.edge import Blueprint
from streamsvc.operations.catalog.channels import writing
from streamsvc.operations.outbox.audited_changes import audited
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.security.access import operator_only
from streamsvc.storage.database import db

bp = Blueprint("admin channels", __name__, url_prefix="/v1/admin/channels", description="Manage live channels.")
RECORD_BODY = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/ChannelRecord"}}}}
STORED_RECORD = {"$ref": "#/components/schemas/StoredChannelRecord"}


class ChannelRecordBody(Schema):
    """A JSON object, validated by rules/catalog/channels.py."""

    class Meta:
        unknown = INCLUDE


@bp.route("/<path:external_id>", methods=["PUT"])
@operator_only("catalog")
@bp.arguments(ChannelRecordBody, unknown=INCLUDE)
@bp.doc(requestBody=RECORD_BODY)
@bp.preconditions()
@bp.response(200, STORED_RECORD, description="The stored record.")
@audited(CHANNEL, "external_id")
def replace_channel(body: dict, external_id: str) -> Response:
    """Create or replace a live channel.

    Takes the whole record, as in a line of the catalogue file. Supports If-Match and If-None-Match. Its programmes come
    from an import of a guide.
    """
    row = writing.lock_channel(external_id)
    check_preconditions(record_etag(row) if row else None)
    writing.replace_channel(row.external_id if row else external_id, body, row, clock.now())
    db.session.commit()
    return record_response(writing.get_channel(external_id))


@bp.route("/<path:external_id>")
@operator_only("catalog")
@bp.etag
@bp.response(200, STORED_RECORD, description="The stored record.")
def get_channel_record(external_id: str) -> Response:
    """Retrieve a live channel's record.

    Takes its external id or its id. The format is that of a line of the catalogue file.
    """
    row = writing.get_channel(external_id)
    return requested_record_response(row)


@bp.route("/<path:external_id>", methods=["DELETE"])
@operator_only("catalog")
@bp.preconditions()
@bp.response(204)
@audited(CHANNEL, "external_id")
def delete_channel(external_id: str) -> None:
    """Remove a live channel and its programmes.

    Streams of it end at their next heartbeat. Supports If-Match. A channel that is created again gets its old id.
    """
    row = writing.lock_channel(external_id)
    if row is None:
        raise NotFound
    check_preconditions(record_etag(row))
    writing.remove_channel(row, clock.now())
    db.session.commit()
