"""GET /v1/catalog/genres, /filters, /people/{id}, /collections, /home."""

from streamsvc.blueprints.catalog.answers import answer
from streamsvc.http.edge import Blueprint
from streamsvc.operations.catalog.browse import browsing, collections
from streamsvc.operations.catalog.reading.audience import audience
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
def list_genres(asked):
    """The genres in which the viewer may see at least one title."""
    who = audience()
    return answer(who, lambda known: browsing.genres(asked, who))


@bp.route("/filters")
@viewer_or_operator("catalog")
@bp.response(200, Filters)
def get_filters():
    """What lists can be narrowed to and sorted by: values under which the viewer finds something."""
    who = audience()
    return answer(who, lambda known: browsing.filters(who))


@bp.route("/people/<person_id>")
@viewer_or_operator("catalog")
@bp.arguments(LocaleQuery, location="query")
@bp.response(200, PersonOut)
def get_person(asked, person_id):
    """Who somebody is and what they did in titles that the viewer may see."""
    who = audience()
    return answer(who, lambda known: browsing.person(person_id, asked, who, known))


@bp.route("/collections")
@viewer_or_operator("catalog")
@bp.arguments(CollectionQuery, location="query")
@bp.response(200, PageOfCollections)
def list_collections(asked):
    """Collections in which the viewer may see at least one title."""
    who = audience()
    return answer(who, lambda known: collections.page_of_all(asked, who))


@bp.route("/collections/<collection_id>")
@viewer_or_operator("catalog")
@bp.arguments(CollectionQuery, location="query")
@bp.response(200, CollectionWithTitles)
def get_collection(asked, collection_id):
    """One collection, by id or code, with its titles in their order."""
    who = audience()
    return answer(who, lambda known: collections.page(collection_id, asked, who, known))


@bp.route("/home")
@viewer_or_operator("catalog")
@bp.response(200, Home)
def get_home():
    """The rows of the home page. Those of what the viewer watches are for the profile that is watching."""
    who = audience()
    own = home.personal(who)
    return answer(who, lambda known: home.page(own, who, known), own)
