"""GET /v1/catalog/genres, /filters, /people/{id}, /collections, /home."""

from streamsvc.blueprints.catalog.answers import catalog_response
from streamsvc.http.edge import Blueprint
from streamsvc.operations.catalog.browse import browsing, collections
from streamsvc.operations.catalog.reading.audience import current_audience
from streamsvc.operations.playback import home
from streamsvc.schemas.base import ShortListQuery
from streamsvc.schemas.catalog.browse import (
    CollectionQuery,
    CollectionWithTitles,
    Filters,
    Genres,
    Home,
    LocaleQuery,
    PageOfCollections,
    PersonOut,
)
from streamsvc.security.authentication import viewer_or_operator

bp = Blueprint("browse", __name__, url_prefix="/v1/catalog", description="Ways into the catalogue.")


@bp.route("/genres")
@viewer_or_operator("catalog")
@bp.arguments(ShortListQuery, location="query")
@bp.response(200, Genres)
def list_genres(query):
    """The genres in which the viewer may see at least one title."""
    who = current_audience()
    return catalog_response(who, lambda known: browsing.genres_json(query, who))


@bp.route("/filters")
@viewer_or_operator("catalog")
@bp.response(200, Filters)
def get_filters():
    """What lists can be narrowed to and sorted by: values under which the viewer finds something."""
    who = current_audience()
    return catalog_response(who, lambda known: browsing.filters_json(who))


@bp.route("/people/<person_id>")
@viewer_or_operator("catalog")
@bp.arguments(LocaleQuery, location="query")
@bp.response(200, PersonOut)
def get_person(query, person_id):
    """Who somebody is and what they did in titles that the viewer may see."""
    who = current_audience()
    return catalog_response(who, lambda known: browsing.person_json(person_id, query, who, known))


@bp.route("/collections")
@viewer_or_operator("catalog")
@bp.arguments(CollectionQuery, location="query")
@bp.response(200, PageOfCollections)
def list_collections(query):
    """Collections in which the viewer may see at least one title."""
    who = current_audience()
    return catalog_response(who, lambda known: collections.collections_json(query, who))


@bp.route("/collections/<collection_id>")
@viewer_or_operator("catalog")
@bp.arguments(CollectionQuery, location="query")
@bp.response(200, CollectionWithTitles)
def get_collection(query, collection_id):
    """One collection, by id or code, with its titles in their order."""
    who = current_audience()
    return catalog_response(who, lambda known: collections.collection_page_json(collection_id, query, who, known))


@bp.route("/home")
@viewer_or_operator("catalog")
@bp.response(200, Home)
def get_home():
    """The rows of the home page. Those of what the viewer watches are for the profile that is watching."""
    who = current_audience()
    own = home.load_personal_rows(who)
    return catalog_response(who, lambda known: home.home_json(own, who, known), own)
