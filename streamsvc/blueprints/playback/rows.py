"""/v1/profiles/{id}/continue-watching, /next-up, /history, /watchlist."""

from streamsvc import clock
from streamsvc.http.edge import Blueprint, json_response
from streamsvc.operations.playback import profile_items, rows
from streamsvc.operations.playback.profiles import get_own_profile, profile_audience
from streamsvc.schemas.base import PageQuery
from streamsvc.schemas.playback.progress import WatchedItemPage, WatchlistPage
from streamsvc.security.authentication import allow_kids, current_viewer

bp = Blueprint("viewer rows", __name__, url_prefix="/v1/profiles/<profile_id>", description="A viewer's own rows.")


def _row_response(statements, name, profile_id, query, item_view):
    profile = get_own_profile(current_viewer(), profile_id)
    return json_response(
        rows.profile_row_json(statements, name, profile_id, profile_audience(profile), query, clock.now(), item_view)
    )


@bp.route("/continue-watching")
@allow_kids
@bp.arguments(PageQuery, location="query")
@bp.response(200, WatchedItemPage)
def list_continue_watching(query, profile_id):
    """What was begun and not finished, what was on last first; of a series one episode."""
    return _row_response(rows.CONTINUE_WATCHING, "continue", profile_id, query, rows.watched_item_view)


@bp.route("/continue-watching/<item_id>", methods=["DELETE"])
@allow_kids
@bp.response(204)
def hide_from_continue_watching(profile_id, item_id):
    """Take an item out of the row without marking it as watched; it comes back when it is watched on."""
    profile_items.hide_from_continue_watching(
        get_own_profile(current_viewer(), profile_id).profile_id, item_id, clock.now()
    )


@bp.route("/next-up")
@allow_kids
@bp.arguments(PageQuery, location="query")
@bp.response(200, WatchedItemPage)
def list_next_up(query, profile_id):
    """Of every series that is being watched, the first unwatched episode behind the one that was watched last."""
    return _row_response(rows.NEXT_UP, "next-up", profile_id, query, rows.next_item_view)


@bp.route("/history")
@allow_kids
@bp.arguments(PageQuery, location="query")
@bp.response(200, WatchedItemPage)
def list_history(query, profile_id):
    """What was watched, the latest first, each item once."""
    return _row_response(rows.HISTORY, "history", profile_id, query, rows.watched_item_view)


@bp.route("/history", methods=["DELETE"])
@allow_kids
@bp.response(204)
def delete_history(profile_id):
    """Forget all that was watched, and how far."""
    profile_items.delete_history(get_own_profile(current_viewer(), profile_id).profile_id, None)


@bp.route("/history/<item_id>", methods=["DELETE"])
@allow_kids
@bp.response(204)
def delete_history_item(profile_id, item_id):
    """Forget one film or episode."""
    profile_items.delete_history(get_own_profile(current_viewer(), profile_id).profile_id, item_id)


@bp.route("/watchlist")
@allow_kids
@bp.arguments(PageQuery, location="query")
@bp.response(200, WatchlistPage)
def list_watchlist(query, profile_id):
    """What the profile wants to see, the latest addition first."""
    return _row_response(rows.WATCHLIST, "watchlist", profile_id, query, rows.watchlist_item_view)
