"""GET·PUT·DELETE /v1/admin/collections/{code} and /v1/admin/home."""

from streamsvc import clock
from streamsvc.blueprints.admin.preconditions import check
from streamsvc.http.edge import Blueprint
from streamsvc.http.etags import etag_of, unchanged
from streamsvc.operations.catalog.browse import collections
from streamsvc.operations.catalog.titles import writing
from streamsvc.operations.playback import home
from streamsvc.rules.refusals.requests import Invalid, NotFound
from streamsvc.schemas.base import Slug, checked
from streamsvc.schemas.catalog.browse import CollectionIn, CollectionKept, CollectionOut, HomeIn
from streamsvc.security.authentication import operator
from streamsvc.storage.database import db

bp = Blueprint("admin rows", __name__, url_prefix="/v1/admin", description="Collections and the home page.")
KEPT = "private, no-cache"


@bp.route("/collections/<code>")
@operator("catalog")
@bp.response(200, CollectionKept)
def get_collection(code):
    """A collection as it was put: its names and its titles in their order, by their external ids."""
    found = collections.kept(code)
    return unchanged(etag_of(found), KEPT) or (found, _headers(found))


@bp.route("/collections/<code>", methods=["PUT"])
@operator("catalog")
@bp.arguments(CollectionIn)
@bp.response(200, CollectionOut)
def put_collection(given, code):
    """Put a collection: its name and its titles in their order. If-Match and If-None-Match hold."""
    _check(checked(Slug(), "code", code))
    made = collections.put(code, given, clock.now())
    headers = _headers(collections.kept(code))
    db.session.commit()
    return {"id": made, "code": code, "title": given["title"]}, headers


@bp.route("/collections/<code>", methods=["DELETE"])
@operator("catalog")
@bp.response(204)
def delete_collection(code):
    """Drop a collection, and the home rows that show it. If-Match holds."""
    _check(code)
    collections.remove(code)
    db.session.commit()


@bp.route("/home")
@operator("catalog")
@bp.response(200, HomeIn)
def get_home():
    """The home page's rows as they were put; none where it shows the usual ones."""
    found = {"items": home.kept()}
    return unchanged(etag_of(found), KEPT) or (found, _headers(found))


@bp.route("/home", methods=["PUT"])
@operator("catalog")
@bp.arguments(HomeIn)
@bp.response(200, HomeIn)
def put_home(given):
    """Put the home page's rows in their order; none brings the usual ones back. If-Match holds."""
    if [row for row in given["items"] if (row["kind"] == "collection") != bool(row["collection"])]:
        raise Invalid(errors={"items": ["`collection` names a collection in rows of that kind, and in no other."]})
    writing.begin()
    check(etag_of({"items": home.kept()}))
    home.put(given["items"])
    headers = _headers({"items": home.kept()})
    db.session.commit()
    return given, headers


@bp.route("/home", methods=["DELETE"])
@operator("catalog")
@bp.response(204)
def delete_home():
    """Bring the usual rows of the home page back."""
    home.put([])
    db.session.commit()


def _check(code):
    """Hold the catalogue, and refuse a change of a collection that the client has not read."""
    writing.begin()
    try:
        check(etag_of(collections.kept(code)))
    except NotFound:
        check(None)


def _headers(found):
    return {"ETag": f'"{etag_of(found)}"', "Cache-Control": KEPT}
