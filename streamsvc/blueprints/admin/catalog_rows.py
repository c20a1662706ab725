"""Collections and the rows of the home page, as operators define them."""

from flask import Response

from streamsvc import clock
from streamsvc.blueprints.admin.audited_resources import COLLECTION, HOME
from streamsvc.blueprints.admin.preconditions import check_preconditions
from streamsvc.http.edge import Blueprint
from streamsvc.http.etags import PRIVATE, compute_etag, not_modified_response
from streamsvc.operations.catalog.browse import collections
from streamsvc.operations.catalog.titles import writing
from streamsvc.operations.outbox.audited_changes import audited
from streamsvc.operations.playback import home
from streamsvc.rules.catalog.inputs import CollectionInput
from streamsvc.rules.inputs import PageInput, ShortListInput
from streamsvc.rules.refusals.requests import Invalid, NotFound
from streamsvc.schemas.base import PageQuery, ShortListQuery, Slug, page_of, parse_path_value
from streamsvc.schemas.catalog.browse import CollectionDefinition, CollectionIn, CollectionOut, CollectionTitle, HomeIn
from streamsvc.security.access import operator_only
from streamsvc.storage.database import db

bp = Blueprint("admin rows", __name__, url_prefix="/v1/admin", description="Collections and the home page.")


@bp.route("/collections")
@bp.arguments(PageQuery, location="query")
@operator_only("catalog")
@bp.response(200, page_of(CollectionOut))
def list_all_collections(query: PageInput) -> dict:
    """List all collections, by code.

    Those without a title that anybody may watch are included.
    """
    return collections.list_defined_collections(query)


@bp.route("/collections/<code>/titles")
@bp.arguments(ShortListQuery, location="query")
@operator_only("catalog")
@bp.response(200, page_of(CollectionTitle))
def list_collection_titles(query: ShortListInput, code: str) -> dict:
    """List the titles of a collection, in its order.

    Titles that nobody may watch are included.
    """
    return collections.list_defined_titles(code, query)


@bp.route("/collections/<code>")
@operator_only("catalog")
@bp.etag
@bp.response(200, CollectionDefinition)
def get_collection_definition(code: str) -> Response | tuple[dict, dict[str, str]]:
    """Retrieve a collection's definition.

    Returns its titles and localizations, and the items' external ids in order.
    """
    definition = collections.get_collection_definition(code)
    return not_modified_response(compute_etag(definition), PRIVATE) or (definition, _headers(definition))


@bp.route("/collections/<code>", methods=["PUT"])
@operator_only("catalog")
@bp.arguments(CollectionIn)
@bp.preconditions()
@bp.response(200, CollectionOut)
@audited(COLLECTION, "code")
def replace_collection(body: CollectionInput, code: str) -> tuple[dict, dict[str, str]]:
    """Create or replace a collection.

    Supports If-Match and If-None-Match.
    """
    _lock_and_check_etag(parse_path_value(Slug(), "code", code))
    collection_id = collections.replace_collection(code, body, clock.now())
    headers = _headers(collections.get_collection_definition(code))
    db.session.commit()
    return {"id": collection_id, "code": code, "title": body["title"]}, headers


@bp.route("/collections/<code>", methods=["DELETE"])
@operator_only("catalog")
@bp.preconditions()
@bp.response(204)
@audited(COLLECTION, "code")
def delete_collection(code: str) -> None:
    """Delete a collection.

    Home rows that show it are deleted too. Supports If-Match.
    """
    _lock_and_check_etag(code)
    collections.delete_collection(code)
    db.session.commit()


@bp.route("/home")
@operator_only("catalog")
@bp.etag
@bp.response(200, HomeIn)
def get_home_rows() -> Response | tuple[dict, dict[str, str]]:
    """Retrieve the configured rows of the home page.

    `items` is empty while the home page shows the default rows.
    """
    definition = {"items": home.list_configured_rows()}
    return not_modified_response(compute_etag(definition), PRIVATE) or (definition, _headers(definition))


@bp.route("/home", methods=["PUT"])
@operator_only("catalog")
@bp.arguments(HomeIn)
@bp.preconditions()
@bp.response(200, HomeIn)
@audited(HOME)
def replace_home_rows(body: dict) -> tuple[dict, dict[str, str]]:
    """Replace the rows of the home page.

    The order of the list counts; an empty list restores the default rows. Supports If-Match.
    """
    if [row for row in body["items"] if (row["kind"] == "collection") != bool(row["collection"])]:
        raise Invalid(
            errors={"items": ["`collection` is required in rows of kind `collection`, and must be null in others."]}
        )
    writing.lock_catalog()
    check_preconditions(compute_etag({"items": home.list_configured_rows()}))
    home.replace_home_rows(body["items"])
    headers = _headers({"items": home.list_configured_rows()})
    db.session.commit()
    return body, headers


@bp.route("/home", methods=["DELETE"])
@operator_only("catalog")
@bp.response(204)
@audited(HOME)
def reset_home_rows() -> None:
    """Restore the default rows of the home page."""
    home.replace_home_rows([])
    db.session.commit()


def _lock_and_check_etag(code: str) -> None:
    """Lock the catalogue, and check the preconditions against the stored collection."""
    writing.lock_catalog()
    try:
        check_preconditions(compute_etag(collections.get_collection_definition(code)))
    except NotFound:
        check_preconditions(None)


def _headers(definition: dict) -> dict[str, str]:
    return {"ETag": f'"{compute_etag(definition)}"', "Cache-Control": PRIVATE}
