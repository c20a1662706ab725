"""GET /v1/catalog/titles, one title, its seasons and episodes."""

from streamsvc.blueprints.catalog.answers import catalog_response
from streamsvc.http.edge import Blueprint
from streamsvc.operations.catalog.browse import pages
from streamsvc.operations.catalog.reading import lists
from streamsvc.operations.catalog.reading.audience import current_audience
from streamsvc.operations.catalog.titles.json_fragments import json_page
from streamsvc.schemas.base import ShortListQuery
from streamsvc.schemas.catalog.titles import (
    EpisodeDetail,
    EpisodesQuery,
    PageOfTitles,
    SeasonEpisodes,
    Seasons,
    TitleDetail,
    TitleQuery,
    TitlesQuery,
)
from streamsvc.security.authentication import viewer_or_operator

bp = Blueprint("titles", __name__, url_prefix="/v1/catalog", description="What there is to watch.")


@bp.route("/titles")
@viewer_or_operator("catalog")
@bp.arguments(TitlesQuery, location="query")
@bp.response(200, PageOfTitles)
def list_titles(query):
    """Titles that the viewer may see, narrowed and sorted, a page at a time."""
    who = current_audience()
    return catalog_response(who, lambda known: json_page(*lists.list_title_cards(query, who, known)))


@bp.route("/titles/<title_id>")
@viewer_or_operator("catalog")
@bp.arguments(TitleQuery, location="query")
@bp.response(200, TitleDetail)
def get_title(query, title_id):
    """One title, with what the viewer may do with it now."""
    who = current_audience(query["country"])
    return catalog_response(who, lambda known: pages.title_json(title_id, query, who, known))


@bp.route("/titles/<title_id>/seasons")
@viewer_or_operator("catalog")
@bp.arguments(ShortListQuery, location="query")
@bp.response(200, Seasons)
def list_seasons(query, title_id):
    """A series' seasons, in their order."""
    who = current_audience()
    return catalog_response(who, lambda known: pages.seasons_json(title_id, query, who))


@bp.route("/titles/<title_id>/episodes")
@viewer_or_operator("catalog")
@bp.arguments(EpisodesQuery, location="query")
@bp.response(200, SeasonEpisodes)
def list_episodes(query, title_id):
    """A series' episodes, or those of one season, in their order."""
    who = current_audience()
    return catalog_response(who, lambda known: pages.episodes_json(title_id, query, who))


@bp.route("/episodes/<episode_id>")
@viewer_or_operator("catalog")
@bp.response(200, EpisodeDetail)
def get_episode(episode_id):
    """One episode, with what the viewer may do with it now: what holds for its series holds for it."""
    who = current_audience()
    return catalog_response(who, lambda known: pages.episode_json(episode_id, who))
