"""PUT·DELETE /v1/profiles/{id}/watchlist/{title} and /ratings/{title}; GET /v1/profiles/{id}/state."""

from streamsvc import clock
from streamsvc.http.edge import Blueprint
from streamsvc.operations.playback import profile_items
from streamsvc.operations.playback.profiles import own_profile
from streamsvc.schemas.playback.progress import RatingIn, StateListOut, StateQuery
from streamsvc.security.authentication import kids_too, viewer

bp = Blueprint("opinions", __name__, url_prefix="/v1/profiles/<profile_id>", description="Wanted, liked, begun.")


@bp.route("/watchlist/<title_id>", methods=["PUT"])
@kids_too
@bp.response(204)
def want(profile_id, title_id):
    """Put a title on the watchlist; one that is there keeps its place."""
    profile = own_profile(viewer(), profile_id)
    profile_items.want(profile_id, profile_items.title_for(profile, title_id), clock.now())


@bp.route("/watchlist/<title_id>", methods=["DELETE"])
@kids_too
@bp.response(204)
def want_no_more(profile_id, title_id):
    """Take a title off the watchlist."""
    profile_items.want_no_more(own_profile(viewer(), profile_id).profile_id, title_id)


@bp.route("/ratings/<title_id>", methods=["PUT"])
@kids_too
@bp.arguments(RatingIn)
@bp.response(204)
def rate(told, profile_id, title_id):
    """Thumb up or down."""
    profile = own_profile(viewer(), profile_id)
    profile_items.rate(profile_id, profile_items.title_for(profile, title_id), told["rating"], clock.now())


@bp.route("/ratings/<title_id>", methods=["DELETE"])
@kids_too
@bp.response(204)
def rate_no_more(profile_id, title_id):
    """Take the thumb back."""
    profile_items.rate_no_more(own_profile(viewer(), profile_id).profile_id, title_id)


@bp.route("/state")
@kids_too
@bp.arguments(StateQuery, location="query")
@bp.response(200, StateListOut)
def read_state(asked, profile_id):
    """What a cached list cannot tell: how far, wanted, liked; for up to 100 titles and episodes."""
    return {"items": profile_items.states(own_profile(viewer(), profile_id).profile_id, asked["ids"])}
