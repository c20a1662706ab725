"""PUT·DELETE /v1/profiles/{id}/watchlist/{title} and /ratings/{title}; GET /v1/profiles/{id}/state."""

from streamsvc import clock
from streamsvc.http.edge import Blueprint
from streamsvc.http.trusted_proxies import client_origin
from streamsvc.operations.playback import profile_items
from streamsvc.operations.playback.profiles import get_own_profile, profile_audience
from streamsvc.rules.refusals.accounts import PinRequired
from streamsvc.schemas.playback.progress import ItemStateListOut, ItemStateQuery, RatingIn
from streamsvc.security.authentication import allow_guests, allow_kids, current_viewer

bp = Blueprint(
    "watchlist and ratings",
    __name__,
    url_prefix="/v1/profiles/<profile_id>",
    description="A profile's watchlist and ratings.",
)


@bp.route("/watchlist/<title_id>", methods=["PUT"])
@allow_guests
@allow_kids
@bp.errors(PinRequired)
@bp.response(204)
def add_to_watchlist(profile_id: str, title_id: str) -> None:
    """Add a title to the watchlist.

    A title already on it keeps its position.
    """
    profile = get_own_profile(current_viewer(), profile_id)
    profile_items.add_to_watchlist(profile_id, profile_items.get_visible_title_id(profile, title_id), clock.now())


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
    profile = get_own_profile(current_viewer(), profile_id)
    profile_items.set_rating(
        profile_id, profile_items.get_visible_title_id(profile, title_id), body["rating"], clock.now()
    )


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

    Returns progress, watchlist and rating of up to 100 ids; empty for what the profile's limits hide. It complements
    catalogue lists, which are the same for all viewers and contain no state of a profile.
    """
    viewer = current_viewer()
    profile = get_own_profile(viewer, profile_id)
    audience = profile_audience(viewer, profile, client_origin())
    return {"items": profile_items.list_item_states(audience, profile.profile_id, query["ids"])}
