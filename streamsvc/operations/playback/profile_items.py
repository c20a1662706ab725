"""A profile's history, watchlist and ratings, and their state for a list of items."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from streamsvc.models import Episode, Play, Progress, Title, TitleRating, WatchlistItem, progress
from streamsvc.operations.playback import items
from streamsvc.operations.playback.reports import progress_view
from streamsvc.rules.maturity import effective_max_age
from streamsvc.rules.playback.access import ViewerFacts
from streamsvc.rules.playback.inputs import WatchlistEntryInput
from streamsvc.rules.playback.restrictions import parse_title_rules
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.storage.database import db, execute_write, fetch_all, insert


def get_visible_title_id(profile: Any, country: str | None, title_id: str) -> str:
    """Return the id of a title that the profile's limits allow in the viewer's country.

    Raises NotFound, also for an episode or an extra.
    """
    playable = items.find_playable(title_id)
    if playable is None or not playable.is_title or not playable.is_visible_to(profile, country):
        raise NotFound
    return playable.row.title_id


def hide_from_rows(profile_id: str, item_id: str, now: datetime) -> None:
    """Hide a film or a series from "Continue watching" and "Next up" until it is played again.

    `item_id`: the film, the series or one of its episodes. A series is hidden as a whole, so that no other episode of
    it comes instead.
    """
    series_of_episode = sa.select(Title.id).join(Episode, Episode.title_pk == Title.pk).where(Episode.id == item_id)
    title_of_item = sa.select(Progress.title_id).where(Progress.profile_id == profile_id, Progress.item_id == item_id)
    title_ids = sa.union_all(sa.select(sa.literal(item_id)), series_of_episode, title_of_item)
    of_title = Progress.profile_id == profile_id, Progress.title_id.in_(title_ids)
    execute_write(sa.update(Progress).where(*of_title).values(hidden_at=now))


def delete_history_uncommitted(profile_id: str, item_id: str | None) -> None:
    """Delete a film, an episode or a series from the history, or all of it if `item_id` is None, in the caller's
    transaction."""
    for model in (Progress, Play):
        db.session.execute(sa.delete(model).where(*_of_item(model, profile_id, item_id)))


def mark_as_watched_uncommitted(profile_id: str, viewer: ViewerFacts, item_id: str, now: datetime) -> None:
    """Mark a film, an episode or a series as watched, in the caller's transaction. `viewer`: the profile's facts.

    Of a series, the episodes whose time has come. Raises NotFound for what has no progress, or if the profile's limits
    hide it.
    """
    playable = items.find_playable(item_id)
    if playable is None or not playable.has_progress:
        raise NotFound
    if not playable.is_visible(viewer.country, viewer.max_age, viewer.title_rules):
        raise NotFound
    watched = items.list_available_episodes(playable, viewer, now) if playable.is_series else [playable.item]
    if watched:
        progress.mark_as_watched_uncommitted(profile_id, watched, now)


def mark_as_unwatched(profile_id: str, item_id: str) -> None:
    """Mark a film, an episode or all episodes of a series as not watched, and their positions as the start."""
    unwatched = {"watched_at": None, "first_watched_at": None, "position_s": 0}
    execute_write(sa.update(Progress).where(*_of_item(Progress, profile_id, item_id)).values(unwatched))


def _of_item(model: Any, profile_id: str, item_id: str | None) -> list[sa.ColumnElement[bool]]:
    """Return the condition of the profile's rows about a film, an episode or a series; all if `item_id` is None."""
    of_item = [sa.or_(model.item_id == item_id, model.title_id == item_id)] if item_id else []
    return [model.profile_id == profile_id, *of_item]


def add_to_watchlist(profile_id: str, title_id: str, now: datetime) -> None:
    """Add a title to the watchlist; one already there keeps its position."""
    row = {"profile_id": profile_id, "title_id": title_id, "added_at": now}
    execute_write(insert(WatchlistItem).values(row).on_conflict_do_nothing(index_elements=["profile_id", "title_id"]))


def import_watchlist_uncommitted(
    profile: Any, country: str | None, entries: list[WatchlistEntryInput], now: datetime
) -> list[dict]:
    """Add the titles of a list that was kept elsewhere, in the caller's transaction; return the outcome of each.

    Titles that the profile may not see in the viewer's `country` are left out. Titles that are already on the watchlist
    keep their position. Of two entries of one title the newest counts.
    """
    rows: dict[str, dict] = {}
    for entry in entries:
        title_id, added_at = entry["title_id"], min(entry["added_at"] or now, now)
        if title_id in rows:
            rows[title_id]["added_at"] = max(added_at, rows[title_id]["added_at"])
        elif _is_visible_title(profile, country, title_id):
            rows[title_id] = {"profile_id": profile.profile_id, "title_id": title_id, "added_at": added_at}
    added = set(_insert_watchlist_items([rows[title_id] for title_id in sorted(rows)]))
    outcomes = []
    for entry in entries:
        title_id = entry["title_id"]
        reason = None if title_id in added else "already_there" if title_id in rows else NotFound.code
        outcomes.append({"title_id": title_id, "added": reason is None, "reason": reason})
        added.discard(title_id)
    return outcomes


def _is_visible_title(profile: Any, country: str | None, title_id: str) -> bool:
    try:
        return bool(get_visible_title_id(profile, country, title_id))
    except NotFound:
        return False


def _insert_watchlist_items(rows: list[dict]) -> Sequence[str]:
    """Insert those that are not on the watchlist; return their titles."""
    if not rows:
        return []
    keys = ["profile_id", "title_id"]
    statement = insert(WatchlistItem).values(rows).on_conflict_do_nothing(index_elements=keys)
    return db.session.scalars(statement.returning(WatchlistItem.title_id)).all()


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


def list_item_states(profile: Any, country: str | None, ids: list[str]) -> list[dict]:
    """Return progress, watchlist membership and rating of each item, in order; empty values for unknown ids.

    An item that the profile may not see in the viewer's `country`, or no longer may, is unknown.
    """
    max_age = effective_max_age(profile.max_age, profile.kids)
    visible = items.list_visible_ids(ids, country, max_age, parse_title_rules(profile.restrictions))

    def rows_by_id(model: Any, key: Any, *columns: Any) -> dict[str, sa.Row]:
        select = sa.select(key, *columns).where(model.profile_id == profile.profile_id, key.in_(visible))
        return {row[0]: row for row in fetch_all(select)}

    reported = rows_by_id(Progress, Progress.item_id, *Progress.__table__.c)
    watchlisted = rows_by_id(WatchlistItem, WatchlistItem.title_id)
    rated = rows_by_id(TitleRating, TitleRating.title_id, TitleRating.rating)
    return [
        {
            "id": item_id,
            "progress": progress_view(reported[item_id]) if item_id in reported else None,
            "in_watchlist": item_id in watchlisted,
            "rating": rated[item_id].rating if item_id in rated else None,
        }
        for item_id in ids
    ]
