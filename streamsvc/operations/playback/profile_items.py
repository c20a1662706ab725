"""What a viewer does with a profile's own things: hide, forget, want, rate; and how titles stand with the profile."""

from datetime import datetime

import sqlalchemy as sa

from streamsvc.models import Progress, TitleRating, WatchlistItem
from streamsvc.operations.playback import items
from streamsvc.operations.playback.reports import progress_view
from streamsvc.rules.playback.access import is_age_allowed
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.storage.database import execute_write, fetch_all, insert


def get_visible_title_id(profile, title_id: str) -> str:
    """The title's id, if the profile may know of it. Raises NotFound; an episode is no title."""
    playable = items.find_playable(title_id)
    if playable is None or playable.row.season is not None or not is_age_allowed(playable.row.min_age, profile.max_age):
        raise NotFound
    return playable.row.title_id


def hide_from_continue_watching(profile_id: str, item_id: str, now: datetime) -> None:
    """Take an item out of "continue watching", until it is watched on."""
    execute_write(
        sa.update(Progress).where(Progress.profile_id == profile_id, Progress.item_id == item_id).values(hidden_at=now)
    )


def delete_history(profile_id: str, item_id: str | None) -> None:
    """Drop an item from the history, or all of it."""
    one = [Progress.item_id == item_id] if item_id else []
    execute_write(sa.delete(Progress).where(Progress.profile_id == profile_id, *one))


def add_to_watchlist(profile_id: str, title_id: str, now: datetime) -> None:
    row = {"profile_id": profile_id, "title_id": title_id, "added_at": now}
    execute_write(insert(WatchlistItem).values(row).on_conflict_do_nothing(index_elements=["profile_id", "title_id"]))


def remove_from_watchlist(profile_id: str, title_id: str) -> None:
    execute_write(
        sa.delete(WatchlistItem).where(WatchlistItem.profile_id == profile_id, WatchlistItem.title_id == title_id)
    )


def set_rating(profile_id: str, title_id: str, rating: str, now: datetime) -> None:
    row = {"profile_id": profile_id, "title_id": title_id, "rating": rating, "rated_at": now}
    changed = {"rating": rating, "rated_at": now}
    execute_write(
        insert(TitleRating).values(row).on_conflict_do_update(index_elements=["profile_id", "title_id"], set_=changed)
    )


def clear_rating(profile_id: str, title_id: str) -> None:
    execute_write(sa.delete(TitleRating).where(TitleRating.profile_id == profile_id, TitleRating.title_id == title_id))


def list_item_states(profile_id: str, ids: list[str]) -> list[dict]:
    """How each of these titles and episodes stands with the profile, in their order; unknown ids stand at nothing."""

    def found(rows, key, *columns):
        select = sa.select(key, *columns).where(rows.profile_id == profile_id, key.in_(ids))
        return {row[0]: row for row in fetch_all(select)}

    progress = found(Progress, Progress.item_id, *Progress.__table__.c)
    wanted = found(WatchlistItem, WatchlistItem.title_id)
    rated = found(TitleRating, TitleRating.title_id, TitleRating.rating)
    return [
        {
            "id": id_,
            "progress": progress_view(progress[id_]) if id_ in progress else None,
            "in_watchlist": id_ in wanted,
            "rating": rated[id_].rating if id_ in rated else None,
        }
        for id_ in ids
    ]
