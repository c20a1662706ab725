"""GET /v1/catalog/search and /suggestions."""

from streamsvc.blueprints.catalog.answers import catalog_response
from streamsvc.http.edge import Blueprint
from streamsvc.operations.catalog.reading.audience import current_audience
from streamsvc.operations.catalog.search import searching
from streamsvc.schemas.catalog.titles import PageOfHits, SearchQuery, Suggestions, SuggestionsQuery
from streamsvc.security.authentication import viewer_or_operator

bp = Blueprint("search", __name__, url_prefix="/v1/catalog", description="Finding titles.")


@bp.route("/search")
@viewer_or_operator("catalog")
@bp.arguments(SearchQuery, location="query")
@bp.response(200, PageOfHits)
def search_titles(query):
    """Titles by what was typed: exact, prefix, words, then near misses; the more popular first in each."""
    who = current_audience()
    return catalog_response(who, lambda known: searching.search_json(query, who, known))


@bp.route("/suggestions")
@viewer_or_operator("catalog")
@bp.arguments(SuggestionsQuery, location="query")
@bp.response(200, Suggestions)
def list_suggestions(query):
    """What a viewer who is still typing may mean."""
    who = current_audience()
    return catalog_response(who, lambda known: searching.suggestions_json(query, who, known))
