"""POST /v1/profiles/{id}/watchlist; PUT·DELETE …/watchlist/{title} and …/ratings/{title}; GET …/state."""

from streamsvc import clock
from streamsvc.http.edge import Blueprint
from streamsvc.http.idempotency import idempotent
from streamsvc.http.trusted_proxies import client_country
from streamsvc.operations.catalog.reading.audience import viewer_country
from streamsvc.operations.playback import profile_items
from streamsvc.operations.playback.profiles import get_own_profile
from streamsvc.rules.playback.inputs import WatchlistBatchInput
from streamsvc.rules.refusals.accounts import PinRequired
from streamsvc.schemas.playback.progress import (
    ItemStateListOut,
    ItemStateQuery,
    RatingIn,
    WatchlistBatchIn,
    WatchlistBatchOut,
)
from streamsvc.security.access import allow_guests, allow_kids
from streamsvc.security.principals import current_viewer

bp = Blueprint(
    "watchlist and ratings",
    __name__,
    url_prefix="/v1/profiles/<profile_id>",
    description="A profile's watchlist and ratings.",
)


def _get_visible_title_id(profile_id: str, title_id: str) -> str:
    viewer = current_viewer()
    profile, country = get_own_profile(viewer, profile_id), viewer_country(viewer, client_country())
    return profile_items.get_visible_title_id(profile, country, title_id)


@bp.route("/watchlist", methods=["POST"])
@allow_guests
@allow_kids
@bp.arguments(WatchlistBatchIn)
@idempotent()
@bp.errors(PinRequired)
@bp.response(200, WatchlistBatchOut)
def import_watchlist(body: WatchlistBatchInput, profile_id: str) -> dict:
    """Add the titles of a list that was kept without an account.

    For a front end that lets visitors keep a list on their device: send it once after they signed up. The titles keep
    the times at which they were added; those already on the watchlist keep their position. Titles that do not exist, or
    that the profile's limits hide, are skipped, and each item of the response says what became of it.
    """
    viewer = current_viewer()
    profile, country = get_own_profile(viewer, profile_id), viewer_country(viewer, client_country())
    return {"items": profile_items.import_watchlist_uncommitted(profile, country, body["items"], clock.now())}


@bp.route("/watchlist/<title_id>", methods=["PUT"])
@allow_guests
@allow_kids
@bp.errors(PinRequired)
@bp.response(204)
def add_to_watchlist(profile_id: str, title_id: str) -> None:
    """Add a title to the watchlist.

    A title already on it keeps its position.
    """
    profile_items.add_to_watchlist(profile_id, _get_visible_title_id(profile_id, title_id), clock.now())


@bp.route("/watchlist/<title_id>", methods=["DELETE"])
@allow_guests
@allow_kids
@bp.errors(PinRequired)
@bp.response(204)
def remove_from_watchlist(profile_id: str, title_id: str) -> None:
    """Remove a title from the watchlist."""
    profile_items.remove_from_watchlist(get_own_profile(current_viewer(), profile_id).profile_id, title_id)


@bp.route("/ratings/<title_id>", methods=["PUT"])
@allow_guests
@allow_kids
@bp.arguments(RatingIn)
@bp.errors(PinRequired)
@bp.response(204)
def set_rating(body: dict, profile_id: str, title_id: str) -> None:
    """Rate a title thumbs up or down."""
    profile_items.set_rating(profile_id, _get_visible_title_id(profile_id, title_id), body["rating"], clock.now())


@bp.route("/ratings/<title_id>", methods=["DELETE"])
@allow_guests
@allow_kids
@bp.errors(PinRequired)
@bp.response(204)
def clear_rating(profile_id: str, title_id: str) -> None:
    """Remove the rating of a title."""
    profile_items.clear_rating(get_own_profile(current_viewer(), profile_id).profile_id, title_id)


@bp.route("/state")
@allow_guests
@allow_kids
@bp.arguments(ItemStateQuery, location="query")
@bp.errors(PinRequired)
@bp.response(200, ItemStateListOut)
def list_item_states(query: dict, profile_id: str) -> dict:
    """Retrieve a profile's state of titles and episodes.

    Returns progress, watchlist and rating of up to 100 ids. It complements catalogue lists, which are the same for
    all viewers and contain no state of a profile. An id that does not exist for the profile has an empty state.
    """
    viewer = current_viewer()
    profile, country = get_own_profile(viewer, profile_id), viewer_country(viewer, client_country())
    return {"items": profile_items.list_item_states(profile, country, query["ids"])}
