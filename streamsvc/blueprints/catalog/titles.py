"""GET /v1/catalog/titles, one title, its seasons and episodes."""

from streamsvc.blueprints.catalog.answers import answer
from streamsvc.http.edge import Blueprint
from streamsvc.operations.catalog.browse import pages
from streamsvc.operations.catalog.reading import lists
from streamsvc.operations.catalog.reading.audience import audience
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
def list_titles(asked):
    """Titles that the viewer may see, narrowed and sorted, a page at a time."""
    who = audience()
    return answer(who, lambda known: json_page(*lists.page(asked, who, known)))


@bp.route("/titles/<title_id>")
@viewer_or_operator("catalog")
@bp.arguments(TitleQuery, location="query")
@bp.response(200, TitleDetail)
def get_title(asked, title_id):
    """One title, with what the viewer may do with it now."""
    who = audience(asked["country"])
    return answer(who, lambda known: pages.title(title_id, asked, who, known))


@bp.route("/titles/<title_id>/seasons")
@viewer_or_operator("catalog")
@bp.arguments(ShortListQuery, location="query")
@bp.response(200, Seasons)
def list_seasons(asked, title_id):
    """A series' seasons, in their order."""
    who = audience()
    return answer(who, lambda known: pages.seasons(title_id, asked, who))


@bp.route("/titles/<title_id>/episodes")
@viewer_or_operator("catalog")
@bp.arguments(EpisodesQuery, location="query")
@bp.response(200, SeasonEpisodes)
def list_episodes(asked, title_id):
    """A series' episodes, or those of one season, in their order."""
    who = audience()
    return answer(who, lambda known: pages.episodes(title_id, asked, who))


@bp.route("/episodes/<episode_id>")
@viewer_or_operator("catalog")
@bp.response(200, EpisodeDetail)
def get_episode(episode_id):
    """One episode, with what the viewer may do with it now: what holds for its series holds for it."""
    who = audience()
    return answer(who, lambda known: pages.episode(episode_id, who))
