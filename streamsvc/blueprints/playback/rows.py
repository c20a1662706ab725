"""/v1/profiles/{id}/continue-watching, /next-up, /history, /plays, /watched, /watchlist."""

from collections.abc import Callable
from functools import partial

from flask import Response

from streamsvc import clock
from streamsvc.http.edge import Blueprint, json_response
from streamsvc.http.trusted_proxies import client_origin
from streamsvc.operations.playback import next_up, profile_items, row_statements, rows
from streamsvc.operations.playback.profiles import get_own_profile, profile_audience
from streamsvc.rules.inputs import PageInput
from streamsvc.rules.playback.inputs import PlaysInput
from streamsvc.rules.refusals.accounts import PinRequired
from streamsvc.schemas.base import PageQuery
from streamsvc.schemas.playback.progress import PlayPage, PlaysQuery, WatchedItemPage, WatchlistPage
from streamsvc.security.access import allow_guests, allow_kids
from streamsvc.security.principals import current_viewer
from streamsvc.storage.database import db
from streamsvc.storage.replica import read_latest

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
    audience = profile_audience(viewer, profile, client_origin())
    arguments = statements, name, profile_id, audience, query, clock.now(), item_view
    return json_response(read_latest(partial(rows.profile_row_json, *arguments)))


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
    return _row_response(row_statements.CONTINUE_WATCHING, "continue", profile_id, query, rows.watched_item_view)


@bp.route("/continue-watching/<item_id>", methods=["DELETE"])
@allow_guests
@allow_kids
@bp.errors(PinRequired)
@bp.response(204)
def hide_from_continue_watching(profile_id: str, item_id: str) -> None:
    """Hide a title from "Continue watching".

    The item is a film, a series or one of its episodes; a series is hidden as a whole, also from "Next up". It is not
    marked as watched, and returns when it is played again.
    """
    profile_items.hide_from_rows(get_own_profile(current_viewer(), profile_id).profile_id, item_id, clock.now())


@bp.route("/next-up")
@allow_guests
@allow_kids
@bp.arguments(PageQuery, location="query")
@bp.errors(PinRequired)
@bp.response(200, WatchedItemPage)
def list_next_up(query: PageInput, profile_id: str) -> Response:
    """List next episodes, latest watched series first.

    Lists the next unwatched episode of each series being watched. A series that has not been watched for long returns
    with its next new episode; one that is watched again goes on with the episodes watched before.
    """
    return _row_response(next_up.NEXT_UP, "next-up", profile_id, query, rows.next_item_view)


@bp.route("/next-up/<item_id>", methods=["DELETE"])
@allow_guests
@allow_kids
@bp.errors(PinRequired)
@bp.response(204)
def hide_from_next_up(profile_id: str, item_id: str) -> None:
    """Hide a series from "Next up".

    The item is the series or one of its episodes. The series is hidden from "Continue watching" too, and returns when
    it is played again.
    """
    profile_items.hide_from_rows(get_own_profile(current_viewer(), profile_id).profile_id, item_id, clock.now())


@bp.route("/history")
@allow_guests
@allow_kids
@bp.arguments(PageQuery, location="query")
@bp.errors(PinRequired)
@bp.response(200, WatchedItemPage)
def list_history(query: PageInput, profile_id: str) -> Response:
    """List watched items, latest first.

    Lists each item once, with how often it was started and watched to the end: see `GET …/plays`.
    """
    return _row_response(row_statements.HISTORY, "history", profile_id, query, rows.history_item_view)


@bp.route("/history", methods=["DELETE"])
@allow_guests
@allow_kids
@bp.errors(PinRequired)
@bp.response(204)
def delete_history(profile_id: str) -> None:
    """Delete the history.

    All progress and all plays are deleted with it.
    """
    profile_items.delete_history_uncommitted(get_own_profile(current_viewer(), profile_id).profile_id, None)
    db.session.commit()


@bp.route("/history/<item_id>", methods=["DELETE"])
@allow_guests
@allow_kids
@bp.errors(PinRequired)
@bp.response(204)
def delete_history_item(profile_id: str, item_id: str) -> None:
    """Delete a film, an episode or a series from the history.

    Its progress and its plays are deleted too.
    """
    profile_items.delete_history_uncommitted(get_own_profile(current_viewer(), profile_id).profile_id, item_id)
    db.session.commit()


@bp.route("/plays")
@allow_guests
@allow_kids
@bp.arguments(PlaysQuery, location="query")
@bp.errors(PinRequired)
@bp.response(200, PlayPage)
def list_plays(query: PlaysInput, profile_id: str) -> dict:
    """List plays, latest first.

    A play is a stream that began to play, or what a player reported under one `play_id`; it is complete when it reached
    the end.
    """
    viewer = current_viewer()
    profile = get_own_profile(viewer, profile_id)
    audience = profile_audience(viewer, profile, client_origin())
    return read_latest(partial(rows.list_plays, profile.profile_id, audience, query))


@bp.route("/watched/<item_id>", methods=["PUT"])
@allow_guests
@allow_kids
@bp.errors(PinRequired)
@bp.response(204)
def mark_as_watched(profile_id: str, item_id: str) -> None:
    """Mark a film, an episode or a series as watched.

    Of a series, all episodes that are or have been available. Marking is no play: the history does not change.
    """
    viewer = current_viewer()
    profile = get_own_profile(viewer, profile_id)
    facts = profile_audience(viewer, profile, client_origin()).facts
    profile_items.mark_as_watched_uncommitted(profile.profile_id, facts, item_id, clock.now())
    db.session.commit()


@bp.route("/watched/<item_id>", methods=["DELETE"])
@allow_guests
@allow_kids
@bp.errors(PinRequired)
@bp.response(204)
def mark_as_unwatched(profile_id: str, item_id: str) -> None:
    """Mark a film, an episode or a series as not watched.

    It starts from the beginning; its plays are kept.
    """
    profile_items.mark_as_unwatched(get_own_profile(current_viewer(), profile_id).profile_id, item_id)


@bp.route("/watchlist")
@allow_guests
@allow_kids
@bp.arguments(PageQuery, location="query")
@bp.errors(PinRequired)
@bp.response(200, WatchlistPage)
def list_watchlist(query: PageInput, profile_id: str) -> Response:
    """List the watchlist, latest addition first."""
    return _row_response(row_statements.WATCHLIST, "watchlist", profile_id, query, rows.watchlist_item_view)
