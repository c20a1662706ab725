"""GET·PUT·PATCH·DELETE /v1/admin/titles/{external_id}."""

from flask import Response
from marshmallow import INCLUDE, Schema

from streamsvc import clock
from streamsvc.blueprints.admin.audited_resources import TITLE
from streamsvc.blueprints.admin.preconditions import check_preconditions
from streamsvc.blueprints.admin.stored_records import record_etag, record_response, requested_record_response
from streamsvc.http.edge import Blueprint
from streamsvc.operations.catalog.titles import editing
from streamsvc.operations.console import title_search
from streamsvc.operations.outbox.audited_changes import audited
from streamsvc.rules.catalog.inputs import AdminTitlesInput
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.schemas.admin.console import AdminTitleItem, AdminTitleQuery
from streamsvc.schemas.base import page_of
from streamsvc.security.access import operator_only
from streamsvc.storage.database import db

bp = Blueprint("admin titles", __name__, url_prefix="/v1/admin/titles", description="Manage titles.")
RECORD_BODY = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/TitleRecord"}}}}
STORED_RECORD = {"$ref": "#/components/schemas/StoredTitleRecord"}


class TitleRecordBody(Schema):
    """A JSON object, validated by rules/catalog/record.py."""

    class Meta:
        unknown = INCLUDE


@bp.route("")
@bp.arguments(AdminTitleQuery, location="query")
@operator_only("catalog")
@bp.response(200, page_of(AdminTitleItem))
def list_titles_by_name(query: AdminTitlesInput) -> dict:
    """List titles, by name.

    All of them, whether or not anybody may watch them. `q` is part of a name, or an id or external id: 20,000 names are
    compared per page, so that a page may have few items, or none, and still a `next_cursor`.
    """
    return title_search.search_titles(query)


@bp.route("/<path:external_id>", methods=["PUT"])
@operator_only("catalog")
@bp.arguments(TitleRecordBody, unknown=INCLUDE)
@bp.doc(requestBody=RECORD_BODY)
@bp.preconditions()
@bp.response(200, STORED_RECORD, description="The stored record.")
@audited(TITLE, "external_id")
def replace_title(body: dict, external_id: str) -> Response:
    """Create or replace a title.

    Takes the whole record, as in a line of the catalogue file. Supports If-Match and If-None-Match.
    """
    row = editing.lock_title(external_id)
    check_preconditions(record_etag(row) if row else None)
    editing.replace_title(row.external_id if row else external_id, body, row, clock.now())
    db.session.commit()
    return record_response(editing.get_title(external_id))


@bp.route("/<path:external_id>", methods=["PATCH"])
@operator_only("catalog")
@bp.arguments(TitleRecordBody, unknown=INCLUDE)
@bp.preconditions(required=True)
@bp.response(200, STORED_RECORD, description="The stored record.")
@audited(TITLE, "external_id")
def update_title(body: dict, external_id: str) -> Response:
    """Update a title.

    Takes its external id or its id. Requires If-Match. The body is a merge patch (RFC 7396): null removes a member.
    """
    row = editing.lock_title(external_id)
    if row is None:
        raise NotFound
    check_preconditions(record_etag(row), required=True)
    editing.replace_title(
        row.external_id, editing.apply_merge_patch(editing.decode_title_record(row), body), row, clock.now()
    )
    db.session.commit()
    return record_response(editing.get_title(external_id))


@bp.route("/<path:external_id>")
@operator_only("catalog")
@bp.etag
@bp.response(200, STORED_RECORD, description="The stored record.")
def get_title_record(external_id: str) -> Response:
    """Retrieve a title's record.

    Takes its external id or its id. The format is that of a line of the catalogue file.
    """
    row = editing.get_title(external_id)
    return requested_record_response(row)


@bp.route("/<path:external_id>", methods=["DELETE"])
@operator_only("catalog")
@bp.preconditions()
@bp.response(204)
@audited(TITLE, "external_id")
def delete_title(external_id: str) -> None:
    """Remove a title from the catalogue.

    Supports If-Match. A title that is created again gets its old id.
    """
    row = editing.lock_title(external_id)
    if row is None:
        raise NotFound
    check_preconditions(record_etag(row))
    editing.remove_title(row, clock.now())
    db.session.commit()
