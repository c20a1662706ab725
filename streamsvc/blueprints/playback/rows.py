"""/v1/profiles/{id}/continue-watching, /next-up, /history, /watchlist."""

from streamsvc import clock
from streamsvc.http.edge import Blueprint, json_response
from streamsvc.operations.playback import profile_items, rows
from streamsvc.operations.playback.profiles import audience_of, own_profile
from streamsvc.schemas.base import PageQuery
from streamsvc.schemas.playback.progress import WantedPage, WatchedPage
from streamsvc.security.authentication import kids_too, viewer

bp = Blueprint("viewer rows", __name__, url_prefix="/v1/profiles/<profile_id>", description="A viewer's own rows.")


def _page(select, name, profile_id, asked, tell):
    profile = own_profile(viewer(), profile_id)
    return json_response(rows.page(select, name, profile_id, audience_of(profile), asked, clock.now(), tell))


@bp.route("/continue-watching")
@kids_too
@bp.arguments(PageQuery, location="query")
@bp.response(200, WatchedPage)
def continue_watching(asked, profile_id):
    """What was begun and not finished, what was on last first; of a series one episode."""
    return _page(rows.CONTINUE, "continue", profile_id, asked, rows.watched_item)


@bp.route("/continue-watching/<item_id>", methods=["DELETE"])
@kids_too
@bp.response(204)
def hide_from_continue_watching(profile_id, item_id):
    """Take an item out of the row without marking it as watched; it comes back when it is watched on."""
    profile_items.hide(own_profile(viewer(), profile_id).profile_id, item_id, clock.now())


@bp.route("/next-up")
@kids_too
@bp.arguments(PageQuery, location="query")
@bp.response(200, WatchedPage)
def next_up(asked, profile_id):
    """Of every series that is being watched, the first unwatched episode behind the one that was watched last."""
    return _page(rows.NEXT_UP, "next-up", profile_id, asked, rows.next_item)


@bp.route("/history")
@kids_too
@bp.arguments(PageQuery, location="query")
@bp.response(200, WatchedPage)
def history(asked, profile_id):
    """What was watched, the latest first, each item once."""
    return _page(rows.HISTORY, "history", profile_id, asked, rows.watched_item)


@bp.route("/history", methods=["DELETE"])
@kids_too
@bp.response(204)
def forget_history(profile_id):
    """Forget all that was watched, and how far."""
    profile_items.forget(own_profile(viewer(), profile_id).profile_id, None)


@bp.route("/history/<item_id>", methods=["DELETE"])
@kids_too
@bp.response(204)
def forget_item(profile_id, item_id):
    """Forget one film or episode."""
    profile_items.forget(own_profile(viewer(), profile_id).profile_id, item_id)


@bp.route("/watchlist")
@kids_too
@bp.arguments(PageQuery, location="query")
@bp.response(200, WantedPage)
def watchlist(asked, profile_id):
    """What the profile wants to see, the latest addition first."""
    return _page(rows.WATCHLIST, "watchlist", profile_id, asked, rows.wanted_item)
