"""/v1/profiles/{id}/continue-watching, /next-up, /history, /watchlist."""

from collections.abc import Callable

from flask import Response

from streamsvc import clock
from streamsvc.http.edge import Blueprint, json_response
from streamsvc.http.trusted_proxies import client_country
from streamsvc.operations.playback import profile_items, rows
from streamsvc.operations.playback.profiles import get_own_profile, profile_audience
from streamsvc.rules.inputs import PageInput
from streamsvc.rules.refusals.accounts import PinRequired
from streamsvc.schemas.base import PageQuery
from streamsvc.schemas.playback.progress import WatchedItemPage, WatchlistPage
from streamsvc.security.authentication import allow_guests, allow_kids, current_viewer

bp = Blueprint(
    "profile rows",
    __name__,
    url_prefix="/v1/profiles/<profile_id>",
    description="A profile's own rows: continue watching, next up, history and watchlist.",
)


def _row_response(
    statements: dict,
    name: str,
    profile_id: str,
    query: PageInput,
    item_view: Callable[..., object],
) -> Response:
    viewer = current_viewer()
    profile = get_own_profile(viewer, profile_id)
    audience = profile_audience(viewer, profile, client_country())
    return json_response(rows.profile_row_json(statements, name, profile_id, audience, query, clock.now(), item_view))


@bp.route("/continue-watching")
@allow_guests
@allow_kids
@bp.arguments(PageQuery, location="query")
@bp.errors(PinRequired)
@bp.response(200, WatchedItemPage)
def list_continue_watching(query: PageInput, profile_id: str) -> Response:
    """List items to continue watching, latest first.

    Lists items that were started and not finished; of a series only the latest episode.
    """
    return _row_response(rows.CONTINUE_WATCHING, "continue", profile_id, query, rows.watched_item_view)


@bp.route("/continue-watching/<item_id>", methods=["DELETE"])
@allow_guests
@allow_kids
@bp.errors(PinRequired)
@bp.response(204)
def hide_from_continue_watching(profile_id: str, item_id: str) -> None:
    """Hide an item from "Continue watching".

    The item is not marked as watched, and returns when it is played again.
    """
    profile_items.hide_from_continue_watching(
        get_own_profile(current_viewer(), profile_id).profile_id, item_id, clock.now()
    )


@bp.route("/next-up")
@allow_guests
@allow_kids
@bp.arguments(PageQuery, location="query")
@bp.errors(PinRequired)
@bp.response(200, WatchedItemPage)
def list_next_up(query: PageInput, profile_id: str) -> Response:
    """List next episodes, latest watched series first.

    Lists the next unwatched episode of each series being watched.
    """
    return _row_response(rows.NEXT_UP, "next-up", profile_id, query, rows.next_item_view)


@bp.route("/history")
@allow_guests
@allow_kids
@bp.arguments(PageQuery, location="query")
@bp.errors(PinRequired)
@bp.response(200, WatchedItemPage)
def list_history(query: PageInput, profile_id: str) -> Response:
    """List watched items, latest first.

    Lists each item once.
    """
    return _row_response(rows.HISTORY, "history", profile_id, query, rows.watched_item_view)


@bp.route("/history", methods=["DELETE"])
@allow_guests
@allow_kids
@bp.errors(PinRequired)
@bp.response(204)
def delete_history(profile_id: str) -> None:
    """Delete the history.

    All progress is deleted with it.
    """
    profile_items.delete_history(get_own_profile(current_viewer(), profile_id).profile_id, None)


@bp.route("/history/<item_id>", methods=["DELETE"])
@allow_guests
@allow_kids
@bp.errors(PinRequired)
@bp.response(204)
def delete_history_item(profile_id: str, item_id: str) -> None:
    """Delete an item from the history.

    Its progress is deleted too.
    """
    profile_items.delete_history(get_own_profile(current_viewer(), profile_id).profile_id, item_id)


@bp.route("/watchlist")
@allow_guests
@allow_kids
@bp.arguments(PageQuery, location="query")
@bp.errors(PinRequired)
@bp.response(200, WatchlistPage)
def list_watchlist(query: PageInput, profile_id: str) -> Response:
    """List the watchlist, latest addition first."""
    return _row_response(rows.WATCHLIST, "watchlist", profile_id, query, rows.watchlist_item_view)
