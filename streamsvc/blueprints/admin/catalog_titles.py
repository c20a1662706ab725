"""GET·PUT·DELETE /v1/admin/titles/{external_id}."""

from marshmallow import INCLUDE, Schema

from streamsvc import clock
from streamsvc.database import db
from streamsvc.login import operator
from streamsvc.operations.catalog import editing
from streamsvc.schemas.title_record import REQUEST_BODY
from streamsvc.web import Blueprint, json_response

bp = Blueprint("admin titles", __name__, url_prefix="/v1/admin/titles", description="Titles, for operators.")


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
    """Put one title: the whole record, as a line of the catalogue file says it."""
    editing.put(external_id, given, clock.now())
    db.session.commit()
    return json_response(editing.shown(external_id).encode())


@bp.route("/<path:external_id>")
@operator("catalog")
@bp.response(200, Anything, description="The record as it is kept, with the title's id.")
def get_title(external_id):
    """One title's record."""
    return json_response(editing.shown(external_id).encode())


@bp.route("/<path:external_id>", methods=["DELETE"])
@operator("catalog")
@bp.response(204)
def delete_title(external_id):
    """Take a title out of the catalogue. Put again, it has its old id."""
    editing.remove(external_id, clock.now())
    db.session.commit()
