"""GET /v1/catalog/search and /suggestions."""

from flask import Response

from streamsvc.blueprints.catalog.responses import catalog_response, current_audience
from streamsvc.http.edge import Blueprint
from streamsvc.operations.catalog.search import searching
from streamsvc.rules.catalog.inputs import SearchInput, SuggestionsInput
from streamsvc.schemas.catalog.titles import PageOfHits, SearchQuery, Suggestions, SuggestionsQuery
from streamsvc.security.authentication import allow_guests, public_catalog, viewer_or_operator

bp = Blueprint("search", __name__, url_prefix="/v1/catalog", description="Search the catalogue.")


@bp.route("/search")
@viewer_or_operator("catalog")
@allow_guests
@public_catalog
@bp.arguments(SearchQuery, location="query")
@bp.etag
@bp.response(200, PageOfHits)
def search_titles(query: SearchInput) -> Response:
    """Search titles by name and by the people who took part.

    Results come in the order exact, prefix, words, fuzzy (see `match`), the most popular first within each.
    """
    audience = current_audience(query["country"])
    return catalog_response(audience, lambda snapshot: searching.search_json(query, audience, snapshot))


@bp.route("/suggestions")
@viewer_or_operator("catalog")
@allow_guests
@public_catalog
@bp.arguments(SuggestionsQuery, location="query")
@bp.etag
@bp.response(200, Suggestions)
def list_suggestions(query: SuggestionsInput) -> Response:
    """List suggestions, best match first.

    Returns titles that complete a partially typed query.
    """
    audience = current_audience(query["country"])
    return catalog_response(audience, lambda snapshot: searching.suggestions_json(query, audience, snapshot))
