"""GET·PUT·PATCH·DELETE /v1/admin/titles/{external_id}."""

from marshmallow import INCLUDE, Schema

from streamsvc import clock
from streamsvc.blueprints.admin.preconditions import check
from streamsvc.http.edge import Blueprint, json_response
from streamsvc.http.etags import etag_of, stamped, unchanged
from streamsvc.operations.catalog.titles import editing
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.schemas.catalog.title_record import REQUEST_BODY
from streamsvc.security.authentication import operator
from streamsvc.storage.database import db

bp = Blueprint("admin titles", __name__, url_prefix="/v1/admin/titles", description="Titles, for operators.")
KEPT = "private, no-cache"


class Anything(Schema):
    """A JSON object; rules/catalog/record.py says what may stand in it."""

    class Meta:
        unknown = INCLUDE


@bp.route("/<path:external_id>", methods=["PUT"])
@operator("catalog")
@bp.arguments(Anything, unknown=INCLUDE)
@bp.doc(requestBody=REQUEST_BODY)
@bp.response(200, Anything, description="The record as it is kept, with the title's id.")
def put_title(given, external_id):
    """Put one title: the whole record, as a line of the catalogue file says it. If-Match and If-None-Match hold."""
    row = editing.held(external_id)
    check(_etag(row))
    editing.put(row.external_id if row else external_id, given, row, clock.now())
    db.session.commit()
    return _answer(editing.shown(external_id))


@bp.route("/<path:external_id>", methods=["PATCH"])
@operator("catalog")
@bp.arguments(Anything, unknown=INCLUDE)
@bp.response(200, Anything, description="The record as it is kept, with the title's id.")
def patch_title(given, external_id):
    """Change some members of a title's record, by its external id or its id; null takes one out. Needs If-Match."""
    row = editing.held(external_id)
    if row is None:
        raise NotFound
    check(_etag(row), required=True)
    editing.put(row.external_id, editing.merged(editing.record_of(row), given), row, clock.now())
    db.session.commit()
    return _answer(editing.shown(external_id))


@bp.route("/<path:external_id>")
@operator("catalog")
@bp.response(200, Anything, description="The record as it is kept, with the title's id.")
def get_title(external_id):
    """One title's record, by its external id or its id, as a line of the catalogue file says it."""
    row = editing.shown(external_id)
    return unchanged(_etag(row), KEPT) or _answer(row)


@bp.route("/<path:external_id>", methods=["DELETE"])
@operator("catalog")
@bp.response(204)
def delete_title(external_id):
    """Take a title out of the catalogue. Put again, it has its old id. If-Match holds."""
    row = editing.held(external_id)
    if row is None:
        raise NotFound
    check(_etag(row))
    editing.remove(row, clock.now())
    db.session.commit()


def _etag(row):
    return row and etag_of(row.id, row.body)


def _answer(row):
    return stamped(json_response(editing.told(row).encode()), _etag(row), KEPT)
