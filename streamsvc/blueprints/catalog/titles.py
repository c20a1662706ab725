"""GET /v1/catalog/titles, one title, its seasons and episodes."""

from functools import partial

from flask import Response

from streamsvc import clock
from streamsvc.blueprints.catalog.responses import (
    catalog_response,
    current_audience,
    poster_response,
    reads_catalog_version,
)
from streamsvc.http.edge import Blueprint
from streamsvc.http.hot_reads import hot_read
from streamsvc.operations.catalog.browse import pages
from streamsvc.operations.catalog.reading import lists
from streamsvc.rules.catalog.inputs import (
    CountryInput,
    EpisodesInput,
    LocaleInput,
    SectionInput,
    TitleInput,
    TitlesInput,
)
from streamsvc.schemas.catalog.title_queries import TitleQuery, TitlesQuery
from streamsvc.schemas.catalog.titles import (
    CountryQuery,
    EpisodeDetail,
    EpisodesQuery,
    LocaleQuery,
    PageOfTitles,
    SeasonEpisodes,
    Seasons,
    SectionQuery,
    TitleDetail,
)
from streamsvc.security.access import allow_guests, public_catalog, viewer_or_operator
from streamsvc.security.principals import is_visitor_request
from streamsvc.storage.replica import read_latest

bp = Blueprint("titles", __name__, url_prefix="/v1/catalog", description="Titles, seasons and episodes.")


@bp.route("/titles")
@hot_read
@reads_catalog_version
@viewer_or_operator("catalog")
@allow_guests
@public_catalog
@bp.arguments(TitlesQuery, location="query")
@bp.etag
@bp.response(200, PageOfTitles)
def list_titles(query: TitlesInput) -> Response:
    """List the titles visible to the caller, filtered and sorted."""
    is_visitor = is_visitor_request()
    audience = current_audience(query["country"] if is_visitor else None)
    query["country"] = query["origin_country"] or (None if is_visitor else query["country"])
    return catalog_response(audience, lambda snapshot: lists.titles_json(query, audience, snapshot))


@bp.route("/titles/<title_id>")
@hot_read
@reads_catalog_version
@viewer_or_operator("catalog")
@allow_guests
@public_catalog
@bp.arguments(TitleQuery, location="query")
@bp.etag
@bp.response(200, TitleDetail)
def get_title(query: TitleInput, title_id: str) -> Response:
    """Retrieve a title.

    A title whose plan, country or window forbids playback is returned with the reason in `availability`. 404 if the
    profile's age limit hides it. Its `extras` are played by their ids; those that the age limit hides are left out.
    """
    audience, today = current_audience(query["country"]), clock.now().date()
    return catalog_response(audience, lambda snapshot: pages.title_json(title_id, query, audience, snapshot), today)


@bp.route("/titles/<title_id>/poster.svg")
@viewer_or_operator("catalog")
@allow_guests
@public_catalog
@bp.arguments(CountryQuery, location="query")
@bp.etag
@bp.response(200, {"type": "string"}, content_type="image/svg+xml", description="An SVG image.")
def get_drawn_poster(query: CountryInput, title_id: str) -> Response:
    """Retrieve a drawn poster of a title.

    For front ends whose catalogue has no artwork: the title and its year over colours and shapes that follow from
    them. 404 if the profile's age limit hides the title.
    """
    audience = current_audience(query["country"])
    return poster_response(read_latest(partial(pages.poster_svg, title_id, audience)))


@bp.route("/titles/<title_id>/seasons")
@reads_catalog_version
@viewer_or_operator("catalog")
@allow_guests
@public_catalog
@bp.arguments(SectionQuery, location="query")
@bp.etag
@bp.response(200, Seasons)
def list_seasons(query: SectionInput, title_id: str) -> Response:
    """List the seasons of a series, in order."""
    audience = current_audience(query["country"])
    return catalog_response(audience, lambda _: pages.seasons_json(title_id, query, audience))


@bp.route("/titles/<title_id>/episodes")
@reads_catalog_version
@viewer_or_operator("catalog")
@allow_guests
@public_catalog
@bp.arguments(EpisodesQuery, location="query")
@bp.etag
@bp.response(200, SeasonEpisodes)
def list_episodes(query: EpisodesInput, title_id: str) -> Response:
    """List the episodes of a series, or of one of its seasons, in order.

    Each has its own `availability`. Those that the profile's age limit hides are left out.
    """
    audience, today = current_audience(query["country"]), clock.now().date()
    return catalog_response(audience, lambda _: pages.episodes_json(title_id, query, audience), today)


@bp.route("/episodes/<episode_id>")
@hot_read
@reads_catalog_version
@viewer_or_operator("catalog")
@allow_guests
@public_catalog
@bp.arguments(LocaleQuery, location="query")
@bp.etag
@bp.response(200, EpisodeDetail)
def get_episode(query: LocaleInput, episode_id: str) -> Response:
    """Retrieve an episode.

    Its availability follows from its own windows and plans, else from its season's, else from its series'. It is not
    available before the day, in UTC, on which it is released. 404 if the profile's age limit hides it or its series.
    """
    audience, today = current_audience(query["country"]), clock.now().date()
    return catalog_response(audience, lambda _: pages.episode_json(episode_id, query, audience), today)
