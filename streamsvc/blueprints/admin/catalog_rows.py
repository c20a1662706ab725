"""GET·PUT·DELETE /v1/admin/collections/{code} and /v1/admin/home."""

from streamsvc import clock
from streamsvc.blueprints.admin.preconditions import check_preconditions
from streamsvc.http.edge import Blueprint
from streamsvc.http.etags import compute_etag, not_modified_response
from streamsvc.operations.catalog.browse import collections
from streamsvc.operations.catalog.titles import writing
from streamsvc.operations.playback import home
from streamsvc.rules.refusals.requests import Invalid, NotFound
from streamsvc.schemas.base import Slug, checked
from streamsvc.schemas.catalog.browse import CollectionDefinition, CollectionIn, CollectionOut, HomeIn
from streamsvc.security.authentication import operator_only
from streamsvc.storage.database import db

bp = Blueprint("admin rows", __name__, url_prefix="/v1/admin", description="Collections and the home page.")
CACHE_CONTROL = "private, no-cache"


@bp.route("/collections/<code>")
@operator_only("catalog")
@bp.response(200, CollectionDefinition)
def get_collection(code):
    """A collection as it was put: its names and its titles in their order, by their external ids."""
    found = collections.get_collection_definition(code)
    return not_modified_response(compute_etag(found), CACHE_CONTROL) or (found, _headers(found))


@bp.route("/collections/<code>", methods=["PUT"])
@operator_only("catalog")
@bp.arguments(CollectionIn)
@bp.response(200, CollectionOut)
def replace_collection(body, code):
    """Put a collection: its name and its titles in their order. If-Match and If-None-Match hold."""
    _lock_and_check_etag(checked(Slug(), "code", code))
    made = collections.replace_collection(code, body, clock.now())
    headers = _headers(collections.get_collection_definition(code))
    db.session.commit()
    return {"id": made, "code": code, "title": body["title"]}, headers


@bp.route("/collections/<code>", methods=["DELETE"])
@operator_only("catalog")
@bp.response(204)
def delete_collection(code):
    """Drop a collection, and the home rows that show it. If-Match holds."""
    _lock_and_check_etag(code)
    collections.delete_collection(code)
    db.session.commit()


@bp.route("/home")
@operator_only("catalog")
@bp.response(200, HomeIn)
def get_home_rows():
    """The home page's rows as they were put; none where it shows the usual ones."""
    found = {"items": home.list_configured_rows()}
    return not_modified_response(compute_etag(found), CACHE_CONTROL) or (found, _headers(found))


@bp.route("/home", methods=["PUT"])
@operator_only("catalog")
@bp.arguments(HomeIn)
@bp.response(200, HomeIn)
def replace_home_rows(body):
    """Put the home page's rows in their order; none brings the usual ones back. If-Match holds."""
    if [row for row in body["items"] if (row["kind"] == "collection") != bool(row["collection"])]:
        raise Invalid(errors={"items": ["`collection` names a collection in rows of that kind, and in no other."]})
    writing.lock_catalog()
    check_preconditions(compute_etag({"items": home.list_configured_rows()}))
    home.replace_home_rows(body["items"])
    headers = _headers({"items": home.list_configured_rows()})
    db.session.commit()
    return body, headers


@bp.route("/home", methods=["DELETE"])
@operator_only("catalog")
@bp.response(204)
def reset_home_rows():
    """Bring the usual rows of the home page back."""
    home.replace_home_rows([])
    db.session.commit()


def _lock_and_check_etag(code):
    """Hold the catalogue, and refuse a change of a collection that the client has not read."""
    writing.lock_catalog()
    try:
        check_preconditions(compute_etag(collections.get_collection_definition(code)))
    except NotFound:
        check_preconditions(None)


def _headers(found):
    return {"ETag": f'"{compute_etag(found)}"', "Cache-Control": CACHE_CONTROL}
