"""GET /v1/catalog/search and /suggestions."""

from streamsvc.blueprints.catalog.answers import answer
from streamsvc.http.edge import Blueprint
from streamsvc.operations.catalog.reading.audience import audience
from streamsvc.operations.catalog.search import searching
from streamsvc.schemas.catalog.titles import PageOfHits, SearchQuery, Suggestions, SuggestionsQuery
from streamsvc.security.authentication import viewer_or_operator

bp = Blueprint("search", __name__, url_prefix="/v1/catalog", description="Finding titles.")


@bp.route("/search")
@viewer_or_operator("catalog")
@bp.arguments(SearchQuery, location="query")
@bp.response(200, PageOfHits)
def search(asked):
    """Titles by what was typed: exact, prefix, words, then near misses; the more popular first in each."""
    who = audience()
    return answer(who, lambda known: searching.answer(asked, who, known))


@bp.route("/suggestions")
@viewer_or_operator("catalog")
@bp.arguments(SuggestionsQuery, location="query")
@bp.response(200, Suggestions)
def suggest(asked):
    """What a viewer who is still typing may mean."""
    who = audience()
    return answer(who, lambda known: searching.suggestions(asked, who, known))
