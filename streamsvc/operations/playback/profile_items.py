"""A profile's history, watchlist and ratings, and their state for a list of items."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from streamsvc.models import Progress, TitleRating, WatchlistItem
from streamsvc.operations.playback import items
from streamsvc.operations.playback.reports import progress_view
from streamsvc.rules.playback.access import is_age_allowed
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.storage.database import execute_write, fetch_all, insert


def get_visible_title_id(profile: Any, title_id: str) -> str:
    """Return the id of a title that the profile's age limit allows. Raises NotFound, also for an episode."""
    playable = items.find_playable(title_id)
    if playable is None or playable.row.season is not None or not is_age_allowed(playable.row.min_age, profile.max_age):
        raise NotFound
    return playable.row.title_id


def hide_from_continue_watching(profile_id: str, item_id: str, now: datetime) -> None:
    """Hide an item from "Continue watching" until it is played again."""
    execute_write(
        sa.update(Progress).where(Progress.profile_id == profile_id, Progress.item_id == item_id).values(hidden_at=now)
    )


def delete_history(profile_id: str, item_id: str | None) -> None:
    """Delete an item from the history, or the whole history if `item_id` is None."""
    of_item = [Progress.item_id == item_id] if item_id else []
    execute_write(sa.delete(Progress).where(Progress.profile_id == profile_id, *of_item))


def add_to_watchlist(profile_id: str, title_id: str, now: datetime) -> None:
    """Add a title to the watchlist; one already there keeps its position."""
    row = {"profile_id": profile_id, "title_id": title_id, "added_at": now}
    execute_write(insert(WatchlistItem).values(row).on_conflict_do_nothing(index_elements=["profile_id", "title_id"]))


def remove_from_watchlist(profile_id: str, title_id: str) -> None:
    """Remove a title from the watchlist, if it is there."""
    execute_write(
        sa.delete(WatchlistItem).where(WatchlistItem.profile_id == profile_id, WatchlistItem.title_id == title_id)
    )


def set_rating(profile_id: str, title_id: str, rating: str, now: datetime) -> None:
    """Rate a title "up" or "down", replacing an earlier rating."""
    row = {"profile_id": profile_id, "title_id": title_id, "rating": rating, "rated_at": now}
    changed = {"rating": rating, "rated_at": now}
    execute_write(
        insert(TitleRating).values(row).on_conflict_do_update(index_elements=["profile_id", "title_id"], set_=changed)
    )


def clear_rating(profile_id: str, title_id: str) -> None:
    """Remove a title's rating, if there is one."""
    execute_write(sa.delete(TitleRating).where(TitleRating.profile_id == profile_id, TitleRating.title_id == title_id))


def list_item_states(profile_id: str, ids: list[str]) -> list[dict]:
    """Return progress, watchlist membership and rating of each item, in order; empty values for unknown ids."""

    def rows_by_id(model: Any, key: Any, *columns: Any) -> dict[str, sa.Row]:
        select = sa.select(key, *columns).where(model.profile_id == profile_id, key.in_(ids))
        return {row[0]: row for row in fetch_all(select)}

    progress = rows_by_id(Progress, Progress.item_id, *Progress.__table__.c)
    watchlisted = rows_by_id(WatchlistItem, WatchlistItem.title_id)
    rated = rows_by_id(TitleRating, TitleRating.title_id, TitleRating.rating)
    return [
        {
            "id": item_id,
            "progress": progress_view(progress[item_id]) if item_id in progress else None,
            "in_watchlist": item_id in watchlisted,
            "rating": rated[item_id].rating if item_id in rated else None,
        }
        for item_id in ids
    ]
