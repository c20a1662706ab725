"""GET /v1/catalog/genres, /filters, /people/{id}, /collections, /home."""

from dataclasses import replace
from functools import partial

from flask import Response

from streamsvc.blueprints.catalog.responses import catalog_response, current_audience, reads_catalog_version
from streamsvc.http.edge import Blueprint
from streamsvc.http.hot_reads import hot_read
from streamsvc.operations.catalog.browse import browsing, collections, people
from streamsvc.operations.catalog.reading.version import CatalogSnapshot
from streamsvc.operations.playback import home
from streamsvc.rules.catalog.inputs import CountryInput, LocaleInput, LocalizedPageInput, PersonPageInput, SectionInput
from streamsvc.schemas.catalog.browse import (
    CollectionQuery,
    CollectionWithTitles,
    Filters,
    Genres,
    Home,
    LocaleQuery,
    PageOfCollections,
    PersonOut,
    PersonQuery,
)
from streamsvc.schemas.catalog.titles import CountryQuery, SectionQuery
from streamsvc.security.access import allow_guests, public_catalog, viewer_or_operator
from streamsvc.security.principals import current_principal
from streamsvc.security.viewers import Viewer

bp = Blueprint(
    "browse",
    __name__,
    url_prefix="/v1/catalog",
    description="Browse the catalogue: genres, people, collections and the home page.",
)


@bp.route("/genres")
@hot_read
@reads_catalog_version
@viewer_or_operator("catalog")
@allow_guests
@public_catalog
@bp.arguments(SectionQuery, location="query")
@bp.etag
@bp.response(200, Genres)
def list_genres(query: SectionInput) -> Response:
    """List the genres with at least one title visible to the caller."""
    audience = current_audience(query["country"])
    return catalog_response(audience, lambda snapshot: browsing.genres_json(query, audience))


@bp.route("/filters")
@hot_read
@reads_catalog_version
@viewer_or_operator("catalog")
@allow_guests
@public_catalog
@bp.arguments(CountryQuery, location="query")
@bp.etag
@bp.response(200, Filters)
def get_filters(query: CountryInput) -> Response:
    """Retrieve the filters and sort orders of title lists.

    Only values that match at least one title visible to the caller are included.
    """
    audience = current_audience(query["country"])
    return catalog_response(audience, lambda snapshot: browsing.filters_json(audience))


@bp.route("/people/<person_id>")
@hot_read
@reads_catalog_version
@viewer_or_operator("catalog")
@allow_guests
@public_catalog
@bp.arguments(PersonQuery, location="query")
@bp.etag
@bp.response(200, PersonOut)
def get_person(query: PersonPageInput, person_id: str) -> Response:
    """Retrieve a person.

    Includes a page of the credits in titles visible to the caller, newest first; 404 if there are none. The id of a
    person who was merged into another returns the other.
    """
    audience = current_audience(query["country"])
    return catalog_response(audience, lambda snapshot: people.person_json(person_id, query, audience, snapshot))


@bp.route("/collections")
@reads_catalog_version
@viewer_or_operator("catalog")
@allow_guests
@public_catalog
@bp.arguments(CollectionQuery, location="query")
@bp.etag
@bp.response(200, PageOfCollections)
def list_collections(query: LocalizedPageInput) -> Response:
    """List the collections with at least one title visible to the caller."""
    audience = current_audience(query["country"])
    return catalog_response(audience, lambda snapshot: collections.collections_json(query, audience))


@bp.route("/collections/<collection_id>")
@reads_catalog_version
@viewer_or_operator("catalog")
@allow_guests
@public_catalog
@bp.arguments(CollectionQuery, location="query")
@bp.etag
@bp.response(200, CollectionWithTitles)
def get_collection(query: LocalizedPageInput, collection_id: str) -> Response:
    """Retrieve a collection.

    Takes its id or code. Returns a page of its titles in the collection's order; 404 if none is visible to the caller.
    """
    audience = current_audience(query["country"])
    return catalog_response(
        audience, lambda snapshot: collections.collection_page_json(collection_id, query, audience, snapshot)
    )


@bp.route("/home")
@hot_read
@reads_catalog_version
@viewer_or_operator("catalog")
@allow_guests
@public_catalog
@bp.arguments(LocaleQuery, location="query")
@bp.etag
@bp.response(200, Home)
def get_home(query: LocaleInput) -> Response:
    """Retrieve the rows of the home page.

    Personal rows, such as "Continue watching", belong to the selected profile and are omitted without one, as are
    rows without titles. `locale` is the language of titles; by default, the profile's.
    """
    audience, principal = current_audience(query["country"]), current_principal()
    if query["locale"]:
        audience = replace(audience, language=query["locale"])
    profile = principal.profile if isinstance(principal, Viewer) else None

    def build(snapshot: CatalogSnapshot) -> str:
        return home.home_json(home.load_personal_rows(profile, audience), audience, snapshot)

    return catalog_response(audience, build, load_personal_version=partial(home.personal_version, profile))
