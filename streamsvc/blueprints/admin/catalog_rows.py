"""PUT·GET·DELETE /v1/admin/collections/{code}, PUT·GET /v1/admin/home."""

from streamsvc import clock
from streamsvc.database import db
from streamsvc.login import operator
from streamsvc.operations.catalog import collections, home
from streamsvc.rules.refusals import Invalid
from streamsvc.schemas.base import Slug
from streamsvc.schemas.catalog_browse import CollectionIn, CollectionOut, HomeIn
from streamsvc.web import Blueprint

bp = Blueprint("admin rows", __name__, url_prefix="/v1/admin", description="Collections and the home page.")


@bp.route("/collections/<code>", methods=["PUT"])
@operator("catalog")
@bp.arguments(CollectionIn)
@bp.response(200, CollectionOut)
def put_collection(given, code):
    """Put a collection: its name and its titles in their order."""
    made = collections.put(Slug().deserialize(code), given, clock.now())
    db.session.commit()
    return {"id": made, "code": code, "title": given["title"]}


@bp.route("/collections/<code>", methods=["DELETE"])
@operator("catalog")
@bp.response(204)
def delete_collection(code):
    """Drop a collection, and the home rows that show it."""
    collections.remove(code)
    db.session.commit()


@bp.route("/home", methods=["PUT"])
@operator("catalog")
@bp.arguments(HomeIn)
@bp.response(200, HomeIn)
def put_home(given):
    """Put the home page's rows in their order; none brings the usual ones back."""
    if [row for row in given["items"] if (row["kind"] == "collection") != bool(row["collection"])]:
        raise Invalid(errors={"items": ["`collection` names a collection in rows of that kind, and in no other."]})
    home.put(given["items"])
    db.session.commit()
    return given
