"""GET /v1/catalog/search and /suggestions."""

from flask import Response

from streamsvc.blueprints.catalog.responses import catalog_response, current_audience
from streamsvc.http.edge import Blueprint
from streamsvc.http.hot_reads import hot_read
from streamsvc.operations.catalog.search import views
from streamsvc.rules.catalog.inputs import SearchInput, SuggestionsInput
from streamsvc.schemas.catalog.titles import PageOfSearchHit, SearchQuery, Suggestions, SuggestionsQuery
from streamsvc.security.authentication import allow_guests, public_catalog, viewer_or_operator

bp = Blueprint("search", __name__, url_prefix="/v1/catalog", description="Search the catalogue.")


@bp.route("/search")
@hot_read
@viewer_or_operator("catalog")
@allow_guests
@public_catalog
@bp.arguments(SearchQuery, location="query")
@bp.etag
@bp.response(200, PageOfSearchHit)
def search_titles(query: SearchInput) -> Response:
    """Search titles by name, people, characters, episodes, tags, studios and external ids.

    Results come in the order exact, prefix, words, fuzzy (see `match`), the most popular first within each;
    `match_field` says by what a hit was found. `kinds` adds episodes, collections and people as hits of their own. The
    filters are those of the titles, for an episode those of its series; a collection or a person is found if one of
    their titles passes. A page may have fewer items than `limit`, even none, if few of many hits pass the filters:
    follow `next_cursor` until it is null.
    """
    audience = current_audience(query["country"])
    return catalog_response(audience, lambda snapshot: views.search_json(query, audience, snapshot))


@bp.route("/suggestions")
@hot_read
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
    return catalog_response(audience, lambda snapshot: views.suggestions_json(query, audience, snapshot))
