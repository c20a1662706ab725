"""GET /v1/catalog/search and /suggestions."""

from collections.abc import Callable, Sequence

from flask import Response

from streamsvc.blueprints.catalog.responses import (
    VISITOR_MAX_AGE_S,
    catalog_response,
    current_audience,
    live_response,
    reads_catalog_version,
)
from streamsvc.http.edge import Blueprint
from streamsvc.http.hot_reads import hot_read
from streamsvc.operations.catalog.reading import version
from streamsvc.operations.catalog.reading.audience import Audience
from streamsvc.operations.catalog.search import views
from streamsvc.operations.catalog.search.searching import LIVE_KINDS
from streamsvc.rules.catalog.inputs import SearchInput, SuggestionsInput
from streamsvc.schemas.catalog.title_queries import SearchQuery
from streamsvc.schemas.catalog.titles import PageOfSearchHit, Suggestions, SuggestionsQuery
from streamsvc.security.access import allow_guests, public_catalog, viewer_or_operator
from streamsvc.storage.replica import read_latest

bp = Blueprint("search", __name__, url_prefix="/v1/catalog", description="Search the catalogue.")


@bp.route("/search")
@hot_read
@reads_catalog_version
@viewer_or_operator("catalog")
@allow_guests
@public_catalog
@bp.arguments(SearchQuery, location="query")
@bp.etag
@bp.response(200, PageOfSearchHit)
def search_titles(query: SearchInput) -> Response:
    """Search titles by name, people, characters, episodes, tags, studios and external ids.

    Results come in the order exact, prefix, words, fuzzy (see `match`), the most popular first within each;
    `match_field` says by what a hit was found. `kinds` adds episodes, collections, people, channels and programmes (on
    now or to come, the soonest first) as hits of their own. The filters are those of the titles, for an episode those
    of its series; a collection or a person is found if one of their titles passes, and a channel or a programme by
    genre, language, country and age alone. A page may have fewer items than `limit`, even none, if few of many hits
    pass the filters: follow `next_cursor` until it is null.
    """
    audience = current_audience(query["country"])
    return _response(query["kinds"], audience, lambda snapshot: views.search_json(query, audience, snapshot))


@bp.route("/suggestions")
@hot_read
@reads_catalog_version
@viewer_or_operator("catalog")
@allow_guests
@public_catalog
@bp.arguments(SuggestionsQuery, location="query")
@bp.etag
@bp.response(200, Suggestions)
def list_suggestions(query: SuggestionsInput) -> Response:
    """List suggestions, best match first.

    Returns titles that complete a partially typed query, and with `kinds=title,channel` channels too.
    """
    audience = current_audience(query["country"])
    return _response(query["kinds"], audience, lambda snapshot: views.suggestions_json(query, audience, snapshot))


def _response(
    kinds: Sequence[str] | None, audience: Audience, build_json: Callable[[version.CatalogSnapshot], str]
) -> Response:
    """Return hits; those of channels and programmes change with time, not with the catalogue's version alone."""
    if LIVE_KINDS.keys().isdisjoint(kinds or ()):
        return catalog_response(audience, build_json)

    def build() -> str:
        return build_json(version.load_snapshot(version.current_catalog_version()))

    return live_response(read_latest(build), audience, VISITOR_MAX_AGE_S)
